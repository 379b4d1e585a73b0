"""Handler of stored files: by signed URL, immutable, and harmless in a browser."""

import asyncio
import hashlib

from starlette.requests import Request
from starlette.responses import Response

from bildwerk.api.answers import matches
from bildwerk.api.byte_range import read_range
from bildwerk.api.context import Context, context_of
from bildwerk.domain.errors import FileGone
from bildwerk.media.filenames import content_disposition
from bildwerk.store import uploads

MEDIA_TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
MAX_KEY_CHARACTERS = 300


async def file(request: Request) -> Response:
    """The whole file, one range of it, or 304. Raises `BadSignature`, `UrlExpired`, `FileGone`."""
    context = context_of(request)
    key = request.path_params["key"][:MAX_KEY_CHARACTERS]
    seconds_left = context.file_urls.check(key, request.scope["query_string"].decode("latin-1"), context.now())
    data = await asyncio.to_thread(context.files.get, key)
    headers = file_headers(key, data, seconds_left) | await disposition(context, key)
    if matches(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return ranged(request, data, headers)


def ranged(request: Request, data: bytes, headers: dict[str, str]) -> Response:
    wanted = read_range(request.headers, len(data), headers["ETag"])
    if wanted is None:
        return Response(data, headers=headers)
    first, last = wanted
    partial = {**headers, "Content-Range": f"bytes {first}-{last}/{len(data)}"}
    return Response(data[first : last + 1], 206, headers=partial)


async def disposition(context: Context, key: str) -> dict[str, str]:
    """Our pictures are shown; what customers sent is only ever saved, under the name that they gave it."""
    if not key.startswith("uploads/"):
        return {"Content-Disposition": content_disposition("inline", key.rpartition("/")[2])}
    upload = await context.database.look_up(lambda connection: uploads.find_by_key(connection, key))
    if upload is None:
        raise FileGone()
    return {"Content-Disposition": content_disposition("attachment", upload.file_name)}


def file_headers(key: str, data: bytes, seconds_left: int) -> dict[str, str]:
    extension = key.rpartition(".")[2]
    return {
        "Content-Type": MEDIA_TYPES.get(extension, "application/octet-stream"),
        "ETag": f'"{hashlib.sha256(data).hexdigest()[:32]}"',
        "Cache-Control": f"public, max-age={seconds_left}, immutable",
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
