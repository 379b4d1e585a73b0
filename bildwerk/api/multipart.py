"""A multipart body with one part `file`: counted while it streams in, with limits on everything else."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from bildwerk.api.body import (
    MAX_BODY_BYTES,
    media_type,
    receipt_within,
    require_fitting_length,
    require_plain_encoding,
    too_large,
)
from bildwerk.domain.errors import BadContentType, InvalidParameter

FRAME_BYTES = 64_000
"""What the parts' headers and the other fields may add to the file."""
MAX_FIELDS = 8
MAX_FIELD_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file as it was sent: nothing about it has been checked but its length."""

    name: str
    data: bytes


async def read_file(request: Request, seconds: float, max_bytes: int = MAX_BODY_BYTES) -> SentFile:
    """The part `file` of the body, which has to arrive within `seconds`.

    Raises `BadContentType`, `UnsupportedEncoding`, `InvalidParameter`, `TooLarge` or `ReceiptTimeout`.
    """
    require_multipart(request)
    require_fitting_length(request.headers, max_bytes + FRAME_BYTES)
    async with receipt_within(seconds):
        return await only_file(await read_form(request, max_bytes + FRAME_BYTES), max_bytes)


def require_multipart(request: Request) -> None:
    require_plain_encoding(request.headers)
    kind, _ = media_type(request.headers)
    if kind != "multipart/form-data":
        raise BadContentType(f"the content type must be multipart/form-data, not {kind[:80] or 'absent'}")


async def read_form(request: Request, max_bytes: int) -> FormData:
    parser = MultiPartParser(
        request.headers,
        counted(request, max_bytes),
        max_files=1,
        max_fields=MAX_FIELDS,
        max_part_size=MAX_FIELD_BYTES,
    )
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise InvalidParameter(f"the body is not a form with one file: {error.message}", param="file") from None
    except UnicodeError:
        raise InvalidParameter("the form is not in the charset that its content type names", param="file") from None


async def counted(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise too_large(max_bytes)
        yield chunk


async def only_file(form: FormData, max_bytes: int) -> SentFile:
    try:
        sent = form.get("file")
        if not isinstance(sent, UploadFile):
            raise InvalidParameter("the form must have one part named file, with a file in it", param="file")
        if (sent.size or 0) > max_bytes:
            raise too_large(max_bytes)
        return SentFile(sent.filename or "", await sent.read())
    finally:
        await form.close()
