"""Query parameters: read, checked, and refused by name."""

from starlette.requests import Request

from bildwerk.domain.errors import InvalidParameter
from bildwerk.domain.prediction import Status
from bildwerk.schemas.prediction_envelopes import statuses_on_the_wire
from bildwerk.store.predictions import HistoryFilter

MAX_PAGE = 100_000
MAX_PAGE_SIZE = 100
WORDS_OF_OTHERS = ("created", "timeout")
"""Statuses that clients may ask for and that no prediction of ours ever has."""


def integer(request: Request, name: str, *, default: int, low: int, high: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 12 and low <= int(text) <= high):
        raise InvalidParameter(f"{name} must be an integer from {low} to {high}", param=name)
    return int(text)


def read_history_filter(request: Request) -> HistoryFilter:
    """`size` above the largest page is cut to it."""
    size = integer(request, "size", default=20, low=1, high=10**11)
    return HistoryFilter(
        number=integer(request, "no", default=1, low=1, high=MAX_PAGE),
        size=min(size, MAX_PAGE_SIZE),
        model=request.query_params.get("model") or None,
        prediction_id=request.query_params.get("sessionID") or None,
        statuses=statuses(request.query_params.get("status", "")),
    )


def statuses(word: str) -> frozenset[Status] | None:
    if not word:
        return None
    found = statuses_on_the_wire(word)
    if not found and word not in WORDS_OF_OTHERS:
        raise InvalidParameter("status must be processing, completed or failed", param="status")
    return found
