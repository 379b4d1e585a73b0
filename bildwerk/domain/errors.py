"""What can go wrong, in the words of the business: a stable code and a sentence, no HTTP.

BildwerkError
├── InvalidRequest
│   ├── InvalidJson             invalid_json            the body is not one JSON object
│   ├── InvalidParameter        invalid_parameter       a value is missing or out of range; names the parameter
│   ├── InvalidHeader           invalid_header          a header's value is out of range
│   ├── InvalidUrl              invalid_url             a URL that may not be contacted
│   ├── BadHost                 bad_host                the Host header names another server
│   ├── BadContentType          bad_content_type        the body's type is not the one expected
│   ├── UnsupportedEncoding     unsupported_encoding    a compressed body
│   ├── UnsupportedMedia        unsupported_media       not a picture of a known type
│   ├── ImageTooLarge           image_too_large         more pixels than are decoded
│   ├── TooLarge                too_large               more bytes than are read
│   ├── ReceiptTimeout          request_timeout         the body did not arrive in time
│   ├── RangeNotSatisfiable     range_not_satisfiable   the byte range lies outside the file
│   ├── IdempotencyMismatch     idempotency_mismatch    the key was used with another body
│   └── IdempotencyInProgress   idempotency_in_progress the key's first request has no answer yet
├── AccessDenied
│   ├── Unauthorized            unauthorized            no usable key
│   ├── Forbidden               forbidden               the key's scope does not cover it
│   ├── BadSignature            bad_signature           a file URL that was not signed here
│   └── UrlExpired              url_expired             a file URL past its end
├── NotFound                    not_found               an unknown path
│   ├── MethodNotAllowed        method_not_allowed      a known path, another verb
│   ├── ModelNotFound           model_not_found
│   ├── PredictionNotFound      prediction_not_found
│   ├── ImageNotFound           image_not_found         an input picture that is not the caller's
│   └── FileGone                file_gone               a stored file past its retention
├── InsufficientBalance         insufficient_balance    the price is more than the balance
├── QuotaExceeded               quota_exceeded          the account's stored uploads are at their limit
├── TooManyRequests
│   ├── RateLimited             rate_limited            more requests a minute than the key may send
│   └── QueueFull               queue_full              more waiting predictions than may wait
├── Unavailable
│   ├── Overloaded              overloaded              the bodies of other requests take all the room there is
│   ├── ModelUnavailable        model_unavailable       no worker can serve the model
│   └── StorageUnavailable      storage_unavailable     the disk or the database does not take writes
├── SetupError                  setup_error             this machine or its data folder; explained at the command line
└── InternalError               internal_error          a defect of ours
"""

from typing import ClassVar


class BildwerkError(Exception):
    """An expected failure. `param` names the offending parameter where there is one."""

    code: ClassVar[str] = "internal_error"
    default_message: ClassVar[str] = "something went wrong"

    def __init__(self, message: str = "", *, param: str | None = None) -> None:
        self.message = message or self.default_message
        self.param = param
        super().__init__(self.message)


class InvalidRequest(BildwerkError):
    code = "invalid_request"
    default_message = "the request is not valid"


class InvalidJson(InvalidRequest):
    code = "invalid_json"
    default_message = "the body is not a JSON object"


class InvalidParameter(InvalidRequest):
    code = "invalid_parameter"
    default_message = "a parameter is not valid"


class InvalidHeader(InvalidRequest):
    code = "invalid_header"
    default_message = "a header is not valid"


class InvalidUrl(InvalidRequest):
    code = "invalid_url"
    default_message = "this URL may not be contacted"


class BadHost(InvalidRequest):
    code = "bad_host"
    default_message = "this server does not answer for that host name"


class BadContentType(InvalidRequest):
    code = "bad_content_type"
    default_message = "the content type must be application/json"


class UnsupportedEncoding(InvalidRequest):
    code = "unsupported_encoding"
    default_message = "a compressed body is not accepted"


class UnsupportedMedia(InvalidRequest):
    code = "unsupported_media"
    default_message = "the file is not a PNG, JPEG or WebP picture"


class ImageTooLarge(InvalidRequest):
    code = "image_too_large"
    default_message = "the picture has too many pixels"


class TooLarge(InvalidRequest):
    code = "too_large"
    default_message = "the body is too large"


class ReceiptTimeout(InvalidRequest):
    code = "request_timeout"
    default_message = "the body did not arrive in time"


class RangeNotSatisfiable(InvalidRequest):
    code = "range_not_satisfiable"
    default_message = "the byte range lies outside the file"


class IdempotencyMismatch(InvalidRequest):
    code = "idempotency_mismatch"
    default_message = "this Idempotency-Key was used with another body"


class IdempotencyInProgress(InvalidRequest):
    code = "idempotency_in_progress"
    default_message = "the first request with this Idempotency-Key has no answer yet"


class AccessDenied(BildwerkError):
    code = "access_denied"
    default_message = "access denied"


class Unauthorized(AccessDenied):
    code = "unauthorized"
    default_message = "unauthorized"


class Forbidden(AccessDenied):
    code = "forbidden"
    default_message = "the key's scope does not cover this"


class BadSignature(AccessDenied):
    code = "bad_signature"
    default_message = "the URL's signature is not valid"


class UrlExpired(AccessDenied):
    code = "url_expired"
    default_message = "the URL has expired"


class NotFound(BildwerkError):
    code = "not_found"
    default_message = "not found"


class MethodNotAllowed(NotFound):
    code = "method_not_allowed"
    default_message = "method not allowed"


class ModelNotFound(NotFound):
    code = "model_not_found"
    default_message = "model not found"


class PredictionNotFound(NotFound):
    code = "prediction_not_found"
    default_message = "prediction not found"


class ImageNotFound(NotFound):
    code = "image_not_found"
    default_message = "image not found"


class FileGone(NotFound):
    code = "file_gone"
    default_message = "the file is past its retention"


class InsufficientBalance(BildwerkError):
    code = "insufficient_balance"
    default_message = "insufficient balance"


class QuotaExceeded(BildwerkError):
    code = "quota_exceeded"
    default_message = "the account's stored uploads are at their limit"


class TooManyRequests(BildwerkError):
    """Come back after `retry_after` seconds."""

    code = "too_many_requests"
    default_message = "too many requests"

    def __init__(self, message: str = "", *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RateLimited(TooManyRequests):
    code = "rate_limited"
    default_message = "more requests than this key may send in a minute"


class QueueFull(TooManyRequests):
    code = "queue_full"
    default_message = "too many predictions are waiting"


class Unavailable(BildwerkError):
    """Not now; come back after `retry_after` seconds."""

    code = "unavailable"
    default_message = "not available at the moment"

    def __init__(self, message: str = "", *, retry_after: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Overloaded(Unavailable):
    code = "overloaded"
    default_message = "too many large requests are being received at the moment"


class ModelUnavailable(Unavailable):
    code = "model_unavailable"
    default_message = "no worker can serve this model"


class StorageUnavailable(Unavailable):
    code = "storage_unavailable"
    default_message = "the storage does not take writes at the moment"


class SetupError(BildwerkError):
    code = "setup_error"
    default_message = "this machine is not set up for that"


class InternalError(BildwerkError):
    code = "internal_error"
    default_message = "an internal error, which has been logged"
