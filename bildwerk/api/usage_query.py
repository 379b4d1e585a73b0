"""The query of the usage and cost pages: which days, grouped how, and which part of the rows."""

import re
from dataclasses import dataclass, replace
from datetime import date, timedelta

from starlette.requests import Request

from bildwerk.api.query import read_query
from bildwerk.domain.errors import InvalidParameter
from bildwerk.schemas.parameter import Parameter
from bildwerk.store.usage import DAY_MS

MAX_DAYS = 180
MAX_ROWS = 1_000
MAX_FILTERS = 100
GROUPS = ("model", "model_type", "api_key")
SCOPES = ("self", "account")
_EPOCH = date(1970, 1, 1)
START_DATE = Parameter(
    name="start_date",
    kind="string",
    title="From",
    description="The first day, in UTC.",
    required=True,
    format="date",
)
END_DATE = Parameter(
    name="end_date",
    kind="string",
    title="Until",
    description=f"The first day that no longer counts, 1 to {MAX_DAYS} days after start_date.",
    required=True,
    format="date",
)
GROUP_BY = Parameter(
    name="group_by[]",
    synonyms=("group_by",),
    kind="string",
    title="Groups",
    description="One result for each of these, not one a day.",
    options=GROUPS,
)
MODEL_TYPES = Parameter(
    name="model_types[]",
    synonyms=("model_types",),
    kind="string",
    title="Kinds",
    description="Only models of these kinds, such as image.",
)
MODEL_IDS = Parameter(
    name="model_ids[]", synonyms=("model_ids",), kind="string", title="Models", description="Only these models."
)
FIRST_ROW = Parameter(
    name="page",
    kind="integer",
    title="Page",
    description="The next_page of the answer before.",
    default=0,
    minimum=0,
    maximum=10**6,
)
ROWS = Parameter(
    name="limit",
    kind="integer",
    title="Rows",
    description="How many results at most.",
    default=100,
    minimum=1,
    maximum=MAX_ROWS,
)
SCOPE = Parameter(
    name="scope",
    kind="string",
    title="Scope",
    description="A key speaks for its whole account, so that both are the same.",
    default=SCOPES[0],
    options=SCOPES,
)
USAGE = (START_DATE, END_DATE, GROUP_BY, MODEL_TYPES, MODEL_IDS, ROWS, FIRST_ROW, SCOPE)
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
    first_day, end_day = day_of(request, START_DATE.name), day_of(request, END_DATE.name)
    if not first_day < end_day <= first_day + MAX_DAYS:
        raise InvalidParameter(f"end_date must be 1 to {MAX_DAYS} days after start_date", param="end_date")
    return UsageQuery(
        scope=read_query(request, SCOPE),
        first_day=first_day,
        end_day=end_day,
        group_by=tuple(name for name in GROUPS if name in listed(request, GROUP_BY)),
        model_types=frozenset(word.lower() for word in listed(request, MODEL_TYPES)),
        model_ids=frozenset(listed(request, MODEL_IDS)),
        first_row=read_query(request, FIRST_ROW),
        max_rows=read_query(request, ROWS),
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


def listed(request: Request, parameter: Parameter) -> list[str]:
    """The values of `name[]=a&name[]=b`, also without the brackets, under which name errors speak of them."""
    found = [text for name in parameter.names for text in request.query_params.getlist(name)]
    called = replace(parameter, name=parameter.name.removesuffix("[]"))
    if len(found) > MAX_FILTERS:
        raise InvalidParameter(f"{called.name} may have {MAX_FILTERS} values at most", param=called.name)
    return [called.read(text) for text in found]
