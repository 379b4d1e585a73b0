"""The whole service in this process: its real database and files, an engine that paints, no socket and no child."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from starlette.testclient import TestClient

from bildwerk.app import Service, build_service
from bildwerk.checkpoints.loras import Loras
from bildwerk.domain.account import ALL_SCOPES, Scope
from bildwerk.domain.api_key import new_api_key
from bildwerk.domain.catalog import load_catalog
from bildwerk.engine.fake import FakeEngine
from bildwerk.engine.request import EngineSpec
from bildwerk.fleet.inline import InlineReplica
from bildwerk.jobs.customers import FIRST_GRANT, give_key, open_account, open_first_account
from bildwerk.settings import Limits, Settings, Timing
from bildwerk.store.data_folder import DataFolder, create_data_folder
from bildwerk.store.database import Database
from bildwerk.store.migrate import migrate

URL = "http://127.0.0.1:8000"
MODEL = "bildwerk/flux-tiny"
GOOD = {"model": MODEL, "prompt": "a lake", "size": "64*64"}


@dataclass(frozen=True)
class InlineService:
    client: TestClient
    service: Service
    folder: DataFolder
    key: str

    @property
    def database(self) -> Database:
        return self.service.context.database

    @property
    def headers(self) -> dict[str, str]:
        return bearer(self.key)

    def new_key(
        self, account: str | None = None, scopes: frozenset[Scope] = ALL_SCOPES, expires_at: int | None = None
    ) -> tuple[str, str]:
        """The id and the secret of another key, of another account unless one is named."""
        new, now = new_api_key(), self.service.context.now()
        pepper = self.folder.secrets.key_pepper

        def give(connection: object) -> None:
            owner = account or open_account(connection, now, "another", FIRST_GRANT).id  # type: ignore[arg-type]
            give_key(connection, now, owner, pepper, new, scopes=scopes, expires_at=expires_at)  # type: ignore[arg-type]

        self.database.write_blocking(give)
        return new.public_id, new.secret


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@contextmanager
def inline_service(
    data_dir: Path,
    *,
    limits: Limits | None = None,
    timing: Timing | None = None,
    step_seconds: float = 0.0,
    host: str = "127.0.0.1",
    behind_proxy: str = "",
) -> Iterator[InlineService]:
    """Started, with a first account, and stopped in the end."""
    folder = create_data_folder(data_dir)
    migrate(folder.database_path)
    settings = Settings(
        data_dir,
        data_dir / "models",
        host=host,
        engine="fake",
        behind_proxy=behind_proxy,
        limits=limits or Limits(),
        timing=timing or QUICK,
    )
    spec = replace(tiny_spec(), loras_folder=Loras(settings.models_dir).folder(MODEL))
    replica = InlineReplica("inline", frozenset({MODEL}), FakeEngine(spec, step_seconds))
    service = build_service(settings, folder, URL, [replica])
    pepper, path = folder.secrets.key_pepper, folder.credentials_path
    first = service.context.database.write_blocking(lambda connection: open_first_account(connection, 1, pepper, path))
    assert first is not None
    with TestClient(service.app, base_url=URL, raise_server_exceptions=False) as client:
        yield InlineService(client, service, folder, first.key.secret)


QUICK = replace(Timing(), poll=0.05, key_cache=0.0)


def tiny_spec() -> EngineSpec:
    spec = load_catalog()[MODEL]
    return EngineSpec(id=spec.id, folder=Path(), **asdict(spec.engine))
