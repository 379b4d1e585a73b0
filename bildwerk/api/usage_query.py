"""The query of the usage and cost pages: which days, grouped how, and which part of the rows."""

import re
from dataclasses import dataclass
from datetime import date, timedelta

from starlette.requests import Request

from bildwerk.api.query import integer
from bildwerk.domain.errors import InvalidParameter
from bildwerk.store.usage import DAY_MS

MAX_DAYS = 180
MAX_ROWS = 1_000
MAX_FILTERS = 100
GROUPS = ("model", "model_type", "api_key")
SCOPES = ("self", "account")
_EPOCH = date(1970, 1, 1)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Days are counted from 1970 (UTC); `end_day` is the first that no longer counts. Empty filters let all through."""

    scope: str
    first_day: int
    end_day: int
    group_by: tuple[str, ...]
    model_types: frozenset[str]
    model_ids: frozenset[str]
    first_row: int
    max_rows: int


def read_usage_query(request: Request) -> UsageQuery:
    """Raises `InvalidParameter`."""
    first_day, end_day = day_of(request, "start_date"), day_of(request, "end_date")
    if not first_day < end_day <= first_day + MAX_DAYS:
        raise InvalidParameter(f"end_date must be 1 to {MAX_DAYS} days after start_date", param="end_date")
    return UsageQuery(
        scope=one_of(request, "scope", SCOPES),
        first_day=first_day,
        end_day=end_day,
        group_by=tuple(name for name in GROUPS if name in groups(request)),
        model_types=frozenset(word.lower() for word in listed(request, "model_types")),
        model_ids=frozenset(listed(request, "model_ids")),
        first_row=integer(request, "page", default=0, low=0, high=10**6),
        max_rows=integer(request, "limit", default=100, low=1, high=MAX_ROWS),
    )


def day_of(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    try:
        if _DATE.fullmatch(text) is None:
            raise ValueError
        return (date.fromisoformat(text) - _EPOCH).days
    except ValueError:
        raise InvalidParameter(f"{name} must be a date such as 2026-01-31", param=name) from None


def date_of(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).isoformat()


def today(now: int) -> int:
    """The day, in UTC, of a moment in milliseconds."""
    return now // DAY_MS


def groups(request: Request) -> list[str]:
    found = listed(request, "group_by")
    if not set(found) <= set(GROUPS):
        raise InvalidParameter(f"group_by must be among {', '.join(GROUPS)}", param="group_by")
    return found


def listed(request: Request, name: str) -> list[str]:
    """The values of `name[]=a&name[]=b`, also without the brackets."""
    found = request.query_params.getlist(f"{name}[]") + request.query_params.getlist(name)
    if len(found) > MAX_FILTERS:
        raise InvalidParameter(f"{name} may have {MAX_FILTERS} values at most", param=name)
    return found


def one_of(request: Request, name: str, legal: tuple[str, ...]) -> str:
    word = request.query_params.get(name, legal[0])
    if word not in legal:
        raise InvalidParameter(f"{name} must be one of {', '.join(legal)}", param=name)
    return word
