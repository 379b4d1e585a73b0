"""`bildwerk serve`: the picture service on one machine."""

import ipaddress
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from cyclopts import Parameter

from bildwerk.app import build_service
from bildwerk.checkpoints.folder_use import used
from bildwerk.checkpoints.location import folder_of
from bildwerk.cli.arithmetic_options import Placement, Precision
from bildwerk.cli.environment import environment_settings
from bildwerk.cli.failure import ExitCode, UsageError
from bildwerk.cli.guarded_protocol import protocol_behind
from bildwerk.cli.log_output import configure_log
from bildwerk.cli.server import listen, run_server, url_of
from bildwerk.domain.catalog import load_catalog
from bildwerk.domain.errors import SetupError
from bildwerk.jobs.customers import open_first_account
from bildwerk.settings import Settings, is_loopback
from bildwerk.store.clock import start_clock
from bildwerk.store.data_folder import DataFolder, FolderLock, create_data_folder
from bildwerk.store.database import Database
from bildwerk.store.migrate import migrate


def serve(
    *,
    host: str | None = None,
    port: int | None = None,
    data_dir: Path | None = None,
    demo: Annotated[bool, Parameter(negative=())] = False,
    precision: Precision | None = None,
    placement: Placement | None = None,
    public_url: str | None = None,
    tls_certificate: Path | None = None,
    tls_key: Path | None = None,
    behind_proxy: str | None = None,
    i_know_plain_http: Annotated[bool, Parameter(negative=())] = False,
    log_level: Literal["debug", "info", "warning", "error"] = "info",
    engine: Annotated[Literal["flux", "fake"], Parameter(show=False)] = "flux",
    fake_step_seconds: Annotated[float, Parameter(show=False)] = 0.0,
) -> int:
    """Serve pictures behind the API, until a signal. Prints one line when it is ready.

    Parameters
    ----------
    host
        Address to listen on. Default: 127.0.0.1.
    port
        Port to listen on; 0 takes any that is free. Default: 8000.
    data_dir
        Folder of the database, the pictures and the secrets; made where it is missing.
    demo
        Let flux-tiny answer for models whose weights are not here, and say so.
    precision
        What the large layers multiply in; faster the narrower, fp8 on a GPU only; int4, there too, only saves
        memory. Default: each model's own.
    placement
        Where the models' parts lie on a GPU; what is streamed lies in the host's memory and visits. Default: as the
        GPU's free memory allows, see `bildwerk doctor`.
    public_url
        Where clients reach the server, such as https://pictures.example; requests to other hosts are refused.
    tls_certificate
        PEM file with the certificate chain; with it the server speaks HTTPS.
    tls_key
        PEM file with the certificate's private key.
    behind_proxy
        Address or network of a proxy that speaks HTTPS to the world, such as 10.0.0.0/8.
    i_know_plain_http
        Listen beyond this machine without encryption: keys and pictures can be read on the way.
    log_level
        Least urgent log lines to write, to standard error.
    """
    os.umask(0o077)
    configure_log(log_level)
    settings = chosen(
        host=host,
        port=port,
        data_dir=data_dir and data_dir.expanduser().absolute(),
        public_url=public_url and public_url.rstrip("/"),
        demo=demo,
        precision=precision,
        placement=placement,
        engine=engine,
        fake_step_seconds=fake_step_seconds,
        behind_proxy=behind_proxy,
    )
    if settings.public_url:
        require_web_address(settings.public_url)
    tls = tls_options(tls_certificate, tls_key)
    if behind_proxy:
        require_network(behind_proxy)
    require_safe_bind(settings, is_safe=bool(tls or behind_proxy or i_know_plain_http))
    folder = create_data_folder(settings.data_dir)
    FolderLock(folder.path)
    migrate(folder.database_path)
    welcome_first_customer(folder)
    listening = listen(settings.host, settings.port)
    url = url_of(settings.host, listening, "https" if tls else "http")
    service = build_service(settings, folder, settings.public_url or url)
    with models_in_use(settings):
        stopped_by = run_server(service, listening, lambda: announce(url), {**tls, **proxy_options(settings)})
    return ExitCode.INTERRUPTED if stopped_by is signal.SIGINT else ExitCode.OK


@contextmanager
def models_in_use(settings: Settings) -> Iterator[None]:
    """Whatever model is here may be asked for, so none of them may be removed meanwhile."""
    with ExitStack() as stack:
        for spec in load_catalog().values():
            if not spec.embedded and folder_of(spec, settings.models_dir).is_dir():
                stack.enter_context(used(folder_of(spec, settings.models_dir)))
        yield


def announce(url: str) -> None:
    print(f"listening on {url}", flush=True)


def chosen(**options: Any) -> Settings:
    """The environment's settings, with those of the command line's that were given over them. Raises `SetupError`."""
    return replace(environment_settings(), **{name: value for name, value in options.items() if value is not None})


def require_safe_bind(settings: Settings, *, is_safe: bool) -> None:
    """Raises `SetupError` that says what is missing for an address that other machines can reach."""
    if is_safe or is_loopback(settings.host):
        return
    raise SetupError(
        f"{settings.host} can be reached from other machines and plain HTTP would show them every key: give "
        "--tls-certificate and --tls-key, or --behind-proxy NETWORK for a proxy that speaks HTTPS, or, if the network "
        "is trusted, --i-know-plain-http"
    )


def require_network(text: str) -> None:
    """Raises `UsageError` for what is neither an address nor a network."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise UsageError(f"--behind-proxy must be an address or a network such as 10.0.0.0/8, not {text!r}") from None


def require_web_address(text: str) -> None:
    """Raises `UsageError` for what clients could not be told as the server's address."""
    try:
        parts = urlsplit(text)
        is_complete = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_complete = False
    if not is_complete or parts.query or parts.fragment:
        raise UsageError(f"--public-url must be http:// or https:// and a host, not {text[:200]!r}")


def tls_options(certificate: Path | None, key: Path | None) -> dict[str, object]:
    if certificate is None and key is None:
        return {}
    if certificate is None or key is None:
        raise UsageError("--tls-certificate and --tls-key go together: one of them is missing")
    for path in (certificate, key):
        if not path.is_file():
            raise SetupError(f"there is no file {path}")
    return {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}


def proxy_options(settings: Settings) -> dict[str, object]:
    if not settings.behind_proxy:
        return {}
    network = ipaddress.ip_network(settings.behind_proxy, strict=False)
    return {"proxy_headers": True, "forwarded_allow_ips": settings.behind_proxy, "http": protocol_behind(network)}


def welcome_first_customer(folder: DataFolder) -> None:
    """On a new data folder, the first account and its key, of which only the path is printed."""
    database = Database(folder.database_path)
    now = start_clock()()
    pepper, path = folder.secrets.key_pepper, folder.credentials_path
    try:
        first = database.write_blocking(lambda connection: open_first_account(connection, now, pepper, path))
    finally:
        database.close()
    if first is not None:
        print(f"the first key is in {path}", file=sys.stderr)
