"""Errors as clients see them: the vendor's envelope on the media surface, OpenAI's on `/v1` and `/public/v1`."""

from typing import Any

from bildwerk.domain.errors import BildwerkError

TYPES = {401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error"}
RATE_LIMIT_STATUS = 429


def error_type(status: int) -> str:
    """OpenAI's word for the kind of error that the HTTP `status` stands for."""
    if status == RATE_LIMIT_STATUS:
        return "rate_limit_error"
    return TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")


def error_envelope(status: int, error: BildwerkError, request_id: str) -> dict[str, Any]:
    return {
        "code": status,
        "msg": error.message,
        "message": error.message,
        "error": error_detail(status, error),
        "request_id": request_id,
        "data": None,
    }


def openai_error_envelope(status: int, error: BildwerkError, request_id: str) -> dict[str, Any]:
    return {"error": error_detail(status, error), "request_id": request_id}


def error_detail(status: int, error: BildwerkError) -> dict[str, Any]:
    return {"message": error.message, "type": error_type(status), "code": error.code, "param": error.param}
