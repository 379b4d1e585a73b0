"""From an error of the business to an HTTP answer: one table, one function."""

import math
from copy import copy

from starlette.requests import Request
from starlette.responses import JSONResponse

from bildwerk.domain import errors
from bildwerk.domain.errors import BildwerkError, TooManyRequests, Unavailable
from bildwerk.locale.lookup import error_sentence, preferred_language
from bildwerk.schemas.error_envelopes import error_envelope, openai_error_envelope

STATUSES: dict[type[BildwerkError], int] = {
    errors.BildwerkError: 500,
    errors.InvalidRequest: 400,
    errors.BadContentType: 415,
    errors.UnsupportedEncoding: 415,
    errors.TooLarge: 413,
    errors.ReceiptTimeout: 408,
    errors.RangeNotSatisfiable: 416,
    errors.IdempotencyMismatch: 422,
    errors.IdempotencyInProgress: 409,
    errors.AccessDenied: 403,
    errors.Unauthorized: 401,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.FileGone: 410,
    errors.InsufficientBalance: 402,
    errors.QuotaExceeded: 413,
    errors.TooManyRequests: 429,
    errors.Unavailable: 503,
    errors.SetupError: 500,
    errors.InternalError: 500,
}
"""An error that is not listed has the status of the nearest class above it."""

OPENAI_PREFIXES = ("/v1/", "/public/v1/")


def status_of(error: BildwerkError) -> int:
    return next(STATUSES[each] for each in type(error).__mro__ if each in STATUSES)


def error_response(request: Request, error: BildwerkError) -> JSONResponse:
    """The answer that says what went wrong, in the envelope that the path's clients read."""
    status = status_of(error)
    request_id = getattr(request.state, "request_id", "")
    envelope = openai_error_envelope if request.scope["path"].startswith(OPENAI_PREFIXES) else error_envelope
    spoken = translated(error, preferred_language(request.headers.get("accept-language", "")))
    return JSONResponse(envelope(status, spoken, request_id), status, headers_of(error))


def translated(error: BildwerkError, language: str) -> BildwerkError:
    """`error` with its text in `language`; what the text says beyond its code stays as it is, after a colon."""
    sentence = error_sentence(error.code, language)
    if sentence is None:
        return error
    spoken = copy(error)
    details = error.message.removeprefix(error.default_message).removeprefix(": ")
    spoken.message = f"{sentence}: {details}" if details else sentence
    return spoken


def headers_of(error: BildwerkError) -> dict[str, str]:
    headers = {"Cache-Control": "no-store"}
    if isinstance(error, TooManyRequests | Unavailable):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if isinstance(error, errors.Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return headers
