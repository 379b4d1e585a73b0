"""One row of the route table."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from bildwerk.domain.account import Scope

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """`scope` None: open to everybody. `quota` names the rate limit that a request counts against."""

    method: str
    path: str
    handler: Handler
    scope: Scope | None
    summary: str
    quota: str = "reads"
