"""What a server is told at its start: read once, by the command that runs it, and frozen."""

import ipaddress
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T", "Limits", "Timing")

MAX_PORT = 65_535
DEFAULT_DATA_DIR = Path("~/.local/share/bildwerk/data")
DEFAULT_MODELS_DIR = Path("~/.local/share/bildwerk/models")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one key or one account may ask of the service, and all of them together.

    `body_bytes_in_flight` is what the bodies of requests may take at a time, from their receipt to the answer.
    """

    submits_per_minute: int = 600
    reads_per_minute: int = 3_000
    queued_per_account: int = 100
    queued_in_all: int = 10_000
    queue_seconds: float = 3_600.0
    upload_bytes_per_account: int = 2_000_000_000
    free_disk_bytes: int = 1_000_000_000
    body_bytes_in_flight: int = 512_000_000


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. `lease` is how long a claim lasts without a heartbeat; `step` how long an engine may say nothing.

    `body` and `upload` are how long a request's body and an uploaded file may take to arrive.
    """

    lease: float = 30.0
    heartbeat: float = 5.0
    poll: float = 1.0
    step: float = 60.0
    load: float = 900.0
    drain: float = 120.0
    sync_wait: float = 60.0
    body: float = 60.0
    upload: float = 300.0
    key_cache: float = 1.0


@dataclass(frozen=True, slots=True)
class Settings:
    """`public_url` is where clients reach the server; empty: the address it listens on.

    `precision` is what the large layers of all models multiply in; None: each model's own. `placement` is where their
    parts lie on a GPU; None: as its memory allows.
    `engine` is `flux`, or `fake` for one that paints without torch, `fake_step_seconds` a step.
    """

    data_dir: Path
    models_dir: Path
    host: str = "127.0.0.1"
    port: int = 8000
    public_url: str = ""
    demo: bool = False
    engine: str = "flux"
    fake_step_seconds: float = 0.0
    precision: str | None = None
    placement: str | None = None
    behind_proxy: str = ""
    limits: Limits = Limits()
    timing: Timing = Timing()

    @property
    def is_for_this_machine_only(self) -> bool:
        return is_loopback(self.host) and not self.behind_proxy


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own; of names, only `localhost` is known to be."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that the environment makes, before the command line's own.

    Raises `ValueError` that names the variable for a value that is not legal.
    """
    return Settings(
        data_dir=Path(environment.get("BILDWERK_DATA_DIR") or DEFAULT_DATA_DIR).expanduser(),
        models_dir=Path(environment.get("BILDWERK_MODELS") or DEFAULT_MODELS_DIR).expanduser(),
        host=environment.get("BILDWERK_HOST") or "127.0.0.1",
        port=read_port(environment.get("BILDWERK_PORT") or "8000"),
        precision=environment.get("BILDWERK_PRECISION") or None,
        placement=environment.get("BILDWERK_PLACEMENT") or None,
        public_url=(environment.get("BILDWERK_PUBLIC_URL") or "").rstrip("/"),
        limits=read_numbers(Limits(), "BILDWERK_LIMIT_", environment),
        timing=read_numbers(Timing(), "BILDWERK_SECONDS_", environment),
    )


def read_port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) <= MAX_PORT):
        raise ValueError(f"BILDWERK_PORT must be a port from 0 to {MAX_PORT}, not {text[:40]!r}")
    return int(text)


def read_numbers(defaults: T, prefix: str, environment: Mapping[str, str]) -> T:
    """`defaults` with every field replaced whose variable, such as `BILDWERK_SECONDS_LEASE`, is set.

    Raises `ValueError` that names the variable for a value that is no positive number.
    """
    changed: dict[str, Any] = {}
    for each in fields(defaults):
        name = prefix + each.name.upper()
        if name in environment:
            changed[each.name] = read_number(name, environment[name], getattr(defaults, each.name))
    return replace(defaults, **changed)


def read_number(name: str, text: str, default: float) -> float:
    """`text` as a number of the kind of `default`. Raises `ValueError` for what is not finite and above 0."""
    try:
        number = type(default)(text)
    except ValueError:
        number = 0
    if not 0 < number < math.inf:
        kind = "a whole number" if isinstance(default, int) else "a finite number"
        raise ValueError(f"{name} must be {kind} above 0 such as {default}, not {text[:40]!r}")
    return number
