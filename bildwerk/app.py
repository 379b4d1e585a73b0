"""The composition root: settings become a running service, one ASGI application and its lifespan."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass

import structlog
from starlette.applications import Starlette
from starlette.types import Lifespan

from bildwerk.api.application import build_application
from bildwerk.api.auth import KeyRing
from bildwerk.api.body_budget import BodyBudget
from bildwerk.api.context import Context
from bildwerk.api.edge import Edge
from bildwerk.api.file_urls import FileUrls
from bildwerk.api.limits import RateLimiter
from bildwerk.checkpoints.integrity import problems
from bildwerk.checkpoints.location import folder_of
from bildwerk.checkpoints.loras import Loras
from bildwerk.domain.catalog import Catalog, ModelSpec, load_catalog
from bildwerk.domain.errors import StorageUnavailable
from bildwerk.engine.request import EngineSpec
from bildwerk.fleet.child import Launch
from bildwerk.fleet.dispatcher import Dispatcher
from bildwerk.fleet.fleet import Replica
from bildwerk.fleet.intake import Pace
from bildwerk.fleet.local import LocalReplica, Supervision
from bildwerk.fleet.records import Records
from bildwerk.jobs.progress import ProgressHub
from bildwerk.jobs.retention import delete_expired_outputs, erase_requests, sweep_orphans
from bildwerk.jobs.uploads import sweep
from bildwerk.settings import Settings
from bildwerk.store.clock import start_clock
from bildwerk.store.data_folder import DataFolder
from bildwerk.store.database import Database, sqlite_warning
from bildwerk.store.files import LocalFiles

log = structlog.get_logger("bildwerk")

DEMO_MODEL = "bildwerk/flux-tiny"
MAX_BATCH_IMAGES = 4
MAX_DECODING = 2
MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Offer:
    """Which models are served: `engines` loads each spec for the models it answers for.

    `stand_ins` names the model that serves another one's requests; `missing` says how to get those that are not served.
    """

    engines: dict[str, frozenset[str]]
    stand_ins: dict[str, str]
    missing: dict[str, str]


@dataclass(frozen=True, slots=True)
class Service:
    """A service that can be started: the application, and the dispatcher whose draining a signal may hasten."""

    app: Edge
    dispatcher: Dispatcher
    context: Context


def build_service(
    settings: Settings, folder: DataFolder, public_url: str, replicas: Sequence[Replica] | None = None
) -> Service:
    """Everything put together and nothing running; that begins with the application's lifespan."""
    catalog = load_catalog()
    offer = what_is_served(settings, catalog)
    now, hub = start_clock(), ProgressHub()
    database, files = Database(folder.database_path), LocalFiles(folder.files_path)
    fleet = local_fleet(settings, catalog, offer) if replicas is None else replicas
    dispatcher = Dispatcher(Records(database, files, hub, now), fleet, pace(settings))
    context = Context(
        settings=settings,
        public_url=public_url,
        catalog=catalog,
        stand_ins=offer.stand_ins,
        loras=Loras(settings.models_dir),
        missing=offer.missing,
        database=database,
        files=files,
        hub=hub,
        workers=dispatcher,
        now=now,
        keys=KeyRing(database, folder.secrets.key_pepper, now, settings.timing.key_cache),
        limiter=RateLimiter({"submits": settings.limits.submits_per_minute, "reads": settings.limits.reads_per_minute}),
        file_urls=FileUrls(folder.secrets.url_signing, public_url),
        decoding=asyncio.Semaphore(MAX_DECODING),
        bodies=BodyBudget(settings.limits.body_bytes_in_flight),
    )
    return Service(build_application(context, lifespan_of(context, dispatcher)), dispatcher, context)


def lifespan_of(context: Context, dispatcher: Dispatcher) -> Lifespan[Starlette]:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        if warning := sqlite_warning():
            log.debug(warning)  # the service avoids the defect: nothing is to be done
        await dispatcher.start()
        upkeep = start_upkeep(context)
        try:
            yield
        finally:
            await dispatcher.drain()
            upkeep.cancel()
            with suppress(asyncio.CancelledError):
                await upkeep
            await context.keys.note_use()
            await asyncio.to_thread(context.database.close)

    return lifespan


def start_upkeep(context: Context) -> "asyncio.Future[list[None]]":
    """What is done from time to time for as long as the service runs."""
    database, files, now = context.database, context.files, context.now
    chores: list[tuple[float, Callable[[], Awaitable[object]]]] = [
        (MINUTE, context.keys.note_use),
        (MINUTE, lambda: erase_requests(database, now)),
        (10 * MINUTE, lambda: delete_expired_outputs(database, files, now)),
        (10 * MINUTE, lambda: sweep(database, files, now)),
        (360 * MINUTE, lambda: sweep_orphans(database, files)),
    ]
    return asyncio.gather(*(repeat(seconds, chore) for seconds, chore in chores))


async def repeat(seconds: float, run: Callable[[], Awaitable[object]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await run()
        except StorageUnavailable as error:
            log.warning("upkeep put off", reason=error.message)
        except Exception:  # a bug in one chore must not end the others
            log.exception("upkeep failed")


def what_is_served(settings: Settings, catalog: Catalog) -> Offer:
    """Models whose files are here; with `demo`, the embedded one also in place of those that are not."""
    folders = {spec.id: folder_of(spec, settings.models_dir) for spec in catalog.values()}
    fake = settings.engine == "fake"
    missing = {
        spec.id: advice(spec)
        for spec in catalog.values()
        if not (fake and spec.embedded) and problems(folders[spec.id])
    }
    can_stand_in = settings.demo and DEMO_MODEL not in missing
    stand_ins = dict.fromkeys(missing, DEMO_MODEL) if can_stand_in else {}
    engines = {
        name: frozenset({name, *(stand_ins if name == DEMO_MODEL else ())}) for name in catalog if name not in missing
    }
    for name, stand_in in stand_ins.items():
        log.info(f"demo: {stand_in} answers for {name}, whose weights are not here")
    return Offer(engines, stand_ins, {} if can_stand_in else missing)


def advice(spec: ModelSpec) -> str:
    """For clients, who are not told of the server's folders."""
    if spec.embedded:
        return "it is part of Bildwerk, but this installation is incomplete: install it again"
    return (
        f"its weights are not here; on the server, `bildwerk models pull {spec.short_name}` fetches them, or --demo "
        "lets flux-tiny stand in"
    )


def local_fleet(settings: Settings, catalog: Catalog, offer: Offer) -> list[Replica]:
    return [local_replica(settings, catalog[name], models) for name, models in offer.engines.items()]


def local_replica(settings: Settings, spec: ModelSpec, models: frozenset[str]) -> LocalReplica:
    engine_spec = EngineSpec(
        id=spec.id,
        folder=folder_of(spec, settings.models_dir),
        loras_folder=Loras(settings.models_dir).folder(spec.id),
        precision=settings.precision,
        placement=settings.placement,
        **asdict(spec.engine),
    )
    load = {
        "engine": settings.engine,
        "spec": {
            **asdict(engine_spec),
            "folder": str(engine_spec.folder),
            "loras_folder": str(engine_spec.loras_folder),
        },
        "step_seconds": settings.fake_step_seconds,
    }
    launch = Launch(load, settings.timing.load)
    return LocalReplica(spec.short_name, models, MAX_BATCH_IMAGES, launch, Supervision(settings.timing.step))


def pace(settings: Settings) -> Pace:
    timing = settings.timing
    return Pace(lease=timing.lease, heartbeat=timing.heartbeat, poll=timing.poll, drain=timing.drain)
