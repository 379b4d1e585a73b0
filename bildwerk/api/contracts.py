"""What each route takes and gives: rows made of those that the handlers read by. `operations` turns them into words."""

from bildwerk.api import query, request_headers, usage_query
from bildwerk.api.route import Body, Contract
from bildwerk.domain import errors
from bildwerk.domain.errors import BildwerkError

RECEIPT: tuple[type[BildwerkError], ...] = (
    errors.BadContentType,
    errors.UnsupportedEncoding,
    errors.TooLarge,
    errors.ReceiptTimeout,
    errors.Overloaded,
    errors.InvalidParameter,
)
JSON_RECEIPT = (*RECEIPT, errors.InvalidJson)
ACCEPTANCE: tuple[type[BildwerkError], ...] = (
    *JSON_RECEIPT,
    errors.InvalidHeader,
    errors.InvalidUrl,
    errors.ModelNotFound,
    errors.ModelUnavailable,
    errors.StorageUnavailable,
    errors.InsufficientBalance,
    errors.QueueFull,
    errors.IdempotencyMismatch,
    errors.IdempotencyInProgress,
)
NOT_CHANGED = (304, "It is the same as the one that If-None-Match names")

SUBMIT = Contract(answer="Prediction", body=Body.REQUEST, headers=request_headers.OF_A_SUBMIT, errors=ACCEPTANCE)
SUBMIT_OTHER = Contract(
    answer="Prediction", body=Body.OTHER_REQUEST, headers=request_headers.OF_A_SUBMIT, errors=ACCEPTANCE
)
POLL = Contract(
    answer="Prediction",
    query=(query.WAIT,),
    headers=(request_headers.IF_NONE_MATCH,),
    errors=(errors.PredictionNotFound,),
    others=(NOT_CHANGED,),
)
POLL_BY_QUERY = Contract(
    answer="Prediction",
    query=(query.PREDICTION_ID, query.WAIT),
    headers=(request_headers.IF_NONE_MATCH,),
    errors=(errors.PredictionNotFound,),
    others=(NOT_CHANGED,),
)
EVENTS = Contract(
    media_types=("text/event-stream",),
    headers=(request_headers.LAST_EVENT_ID,),
    errors=(errors.PredictionNotFound,),
    others=((204, "The last event that was seen was the end"),),
)
CANCEL = Contract(answer="Prediction", errors=(errors.PredictionNotFound, errors.StorageUnavailable))
HISTORY = Contract(answer="History", query=query.HISTORY)
UPLOAD = Contract(
    answer="Upload",
    body=Body.FILE,
    errors=(
        *RECEIPT,
        errors.UnsupportedMedia,
        errors.ImageTooLarge,
        errors.QuotaExceeded,
        errors.StorageUnavailable,
    ),
)
CALCULATE = Contract(answer="Price", body=Body.REQUEST, errors=(*JSON_RECEIPT, errors.InvalidUrl, errors.ModelNotFound))
BALANCE = Contract(answer="Balance")
USAGE = Contract(answer="Usage", query=usage_query.USAGE)
COSTS = Contract(answer="Costs", query=usage_query.USAGE)
CATALOG = Contract(answer="Catalog")
MODEL_SCHEMA = Contract(answer="ModelSchema", errors=(errors.ModelNotFound,))
MODEL_README = Contract(media_types=("text/markdown",), errors=(errors.ModelNotFound,))
MODEL_EXAMPLE = Contract(answer="ModelExample", errors=(errors.ModelNotFound,))
FILE = Contract(
    media_types=("image/png", "image/jpeg", "image/webp"),
    headers=(request_headers.IF_NONE_MATCH, request_headers.RANGE, request_headers.IF_RANGE),
    query=(query.FILE_END, query.FILE_SIGNATURE),
    errors=(errors.BadSignature, errors.UrlExpired, errors.FileGone, errors.RangeNotSatisfiable),
    others=((206, "One range of its bytes"), NOT_CHANGED),
)
LIVE = Contract(answer="Live")
READY = Contract(answer="Ready", others=((503, "It cannot, for these reasons"),))
VERSION = Contract(answer="Version")
FRONT = Contract(media_types=("text/plain",), status=(307, "The API is described there"))
DESCRIPTION = Contract(errors=(errors.Unauthorized,))
PAGE = Contract(media_types=("text/html",), errors=(errors.Unauthorized,))
