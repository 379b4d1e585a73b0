"""One row of the route table."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from starlette.requests import Request
from starlette.responses import Response

from bildwerk.domain.account import Scope
from bildwerk.domain.errors import BildwerkError
from bildwerk.schemas.parameter import Parameter


class Body(StrEnum):
    """What a route reads of a request's body."""

    NONE = "none"
    REQUEST = "request"  # a request to an image model
    OTHER_REQUEST = "other request"  # one to a model of another kind
    FILE = "file"


Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Contract:
    """What a route takes and gives, apart from what all of them do.

    `answer` names its schema in `schemas.answer_schemas`, or is empty for what is no JSON. `query` and `headers` are
    the rows that the handler reads by; `errors` are those that it raises itself; `others` are good statuses beside
    `status`.
    """

    answer: str = ""
    media_types: tuple[str, ...] = ("application/json",)
    body: Body = Body.NONE
    query: tuple[Parameter, ...] = ()
    headers: tuple[Parameter, ...] = ()
    errors: tuple[type[BildwerkError], ...] = ()
    others: tuple[tuple[int, str], ...] = ()
    status: tuple[int, str] = (200, "OK")


@dataclass(frozen=True, slots=True)
class Route:
    """`scope` None: open to everybody. `quota` names the rate limit that a request counts against."""

    method: str
    path: str
    handler: Handler
    scope: Scope | None
    summary: str
    contract: Contract
    quota: str = "reads"
