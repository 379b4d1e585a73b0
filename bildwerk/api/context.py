"""Everything that a handler may need, put together once by `app`."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request

from bildwerk.api.auth import Caller, KeyRing
from bildwerk.api.body_budget import BodyBudget
from bildwerk.api.file_urls import FileUrls
from bildwerk.api.limits import RateLimiter
from bildwerk.checkpoints.loras import Loras
from bildwerk.domain.catalog import Catalog
from bildwerk.jobs.progress import ProgressHub
from bildwerk.jobs.workers import Workers
from bildwerk.settings import Settings
from bildwerk.store.clock import Now
from bildwerk.store.database import Database
from bildwerk.store.files import Files


@dataclass(frozen=True, slots=True)
class Context:
    """`stand_ins` names, for a model that another one serves, that other one; `missing` says how to get a model.

    `decoding` is held by whoever decodes a picture from outside.
    """

    settings: Settings
    public_url: str
    catalog: Catalog
    stand_ins: Mapping[str, str]
    loras: Loras
    missing: Mapping[str, str]
    database: Database
    files: Files
    hub: ProgressHub
    workers: Workers
    now: Now
    keys: KeyRing
    limiter: RateLimiter
    file_urls: FileUrls
    decoding: asyncio.Semaphore
    bodies: BodyBudget


def context_of(request: Request) -> Context:
    context = request.app.state.context
    assert isinstance(context, Context)
    return context


def caller_of(request: Request) -> Caller:
    """Who asks. Only behind a route whose access is not open."""
    caller = request.state.caller
    assert isinstance(caller, Caller)
    return caller
