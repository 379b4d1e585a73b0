"""Query parameters: one row each, from which they are read, checked, refused by name, and described.

A name that ends in `[]` is that of a list, sent as `name[]=a&name[]=b`.
"""

from dataclasses import replace
from typing import Any

from starlette.requests import Request

from bildwerk.domain.errors import InvalidParameter
from bildwerk.domain.prediction import Status
from bildwerk.schemas.parameter import Parameter
from bildwerk.schemas.prediction_envelopes import WIRE_STATUSES, statuses_on_the_wire
from bildwerk.store.predictions import HistoryFilter

MAX_PAGE_SIZE = 100
MAX_DIGITS = 11
WORDS_OF_OTHERS = ("created", "timeout")
"""Statuses that clients may ask for and that no prediction of ours ever has."""

WAIT = Parameter(
    name="wait",
    kind="integer",
    title="Wait",
    description="Answer when the prediction has ended, after this many seconds at most.",
    default=0,
    minimum=0,
    maximum=60,
)
PREDICTION_ID = Parameter(
    name="predictionId", kind="string", title="Prediction", description="The prediction's id.", required=True
)
FILE_END = Parameter(
    name="exp", kind="string", title="End", description="When the URL ends, as it was given out.", required=True
)
FILE_SIGNATURE = Parameter(
    name="sig", kind="string", title="Signature", description="The URL's signature, as it was given out.", required=True
)
PAGE_NUMBER = Parameter(
    name="no",
    synonyms=("pageNo", "page"),
    kind="integer",
    title="Page",
    description="Which page, from 1.",
    default=1,
    minimum=1,
    maximum=100_000,
)
PAGE_SIZE = Parameter(
    name="size",
    synonyms=("pageSize",),
    kind="integer",
    title="Page size",
    description=f"Predictions on a page. More than {MAX_PAGE_SIZE} are read as {MAX_PAGE_SIZE}.",
    default=20,
    minimum=1,
    maximum=10**MAX_DIGITS,
)
MODEL = Parameter(name="model", kind="string", title="Model", description="Only predictions of this model.")
SESSION_ID = Parameter(name="sessionID", kind="string", title="Prediction", description="Only this prediction.")
STATUS = Parameter(
    name="status",
    kind="string",
    title="Status",
    description="Only predictions of this status.",
    options=(*dict.fromkeys(WIRE_STATUSES.values()), *WORDS_OF_OTHERS),
)
HISTORY = (PAGE_NUMBER, PAGE_SIZE, MODEL, SESSION_ID, STATUS)


def read_query(request: Request, parameter: Parameter) -> Any:
    """The value of `parameter`, by whichever of its names it was sent, or its default.

    Raises `InvalidParameter` for a value that is not legal, and for two values that contradict each other.
    """
    sent = [(name, text) for name in parameter.names for text in request.query_params.getlist(name)]
    values = [value for name, text in sent if (value := read_text(parameter, name, text)) is not None]
    if len(set(values)) > 1:
        raise contradiction(parameter, sent)
    return values[0] if values else parameter.default


def read_text(parameter: Parameter, name: str, text: str) -> Any:
    """The value that `text` spells; None for an empty text where one may be left out."""
    called = replace(parameter, name=name)
    if parameter.kind == "integer":
        if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
            raise called.refuse(ascii(text[:40]))
        return called.read(int(text))
    return None if called.is_unset(text) else called.read(text)


def contradiction(parameter: Parameter, sent: list[tuple[str, str]]) -> InvalidParameter:
    said = ", ".join(f"{name}={ascii(text[:40])[1:-1]}" for name, text in sent[:4])
    return InvalidParameter(f"{parameter.name} was given more than once: {said}", param=parameter.name)


def read_history_filter(request: Request) -> HistoryFilter:
    """`size` above the largest page is cut to it."""
    return HistoryFilter(
        number=read_query(request, PAGE_NUMBER),
        size=min(read_query(request, PAGE_SIZE), MAX_PAGE_SIZE),
        model=read_query(request, MODEL),
        prediction_id=read_query(request, SESSION_ID),
        statuses=statuses(read_query(request, STATUS)),
    )


def statuses(word: str | None) -> frozenset[Status] | None:
    return None if word is None else statuses_on_the_wire(word)
