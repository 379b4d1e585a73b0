"""Handler of uploads: a stranger's file becomes a clean picture of ours under an address that needs no key."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from bildwerk.api.answers import answer
from bildwerk.api.context import Context, caller_of, context_of
from bildwerk.api.free_disk import require_free_disk
from bildwerk.api.multipart import read_file
from bildwerk.domain.api_key import random_base62
from bildwerk.domain.upload import Upload
from bildwerk.jobs.uploads import KEPT_MS, check_quota, keep
from bildwerk.media.filenames import shown_name
from bildwerk.media.normalize import Picture, normalize
from bildwerk.schemas.account_envelopes import upload_envelope
from bildwerk.store.files import describe


async def upload_media(request: Request) -> Response:
    """Raises what reading the form does, `UnsupportedMedia`, `ImageTooLarge`, `QuotaExceeded`, `StorageUnavailable`."""
    context, caller = context_of(request), caller_of(request)
    require_free_disk(context)
    max_bytes = context.settings.limits.upload_bytes_per_account
    await context.database.read(lambda connection: check_quota(connection, caller.account_id, 1, max_bytes))
    sent = await read_file(request, context.settings.timing.upload)
    picture = await decoded(context, sent.data)
    upload = described(picture, caller.account_id, shown_name(sent.name), context.now())
    await keep(context.database, context.files, upload, picture.data, max_bytes)
    url = context.file_urls.url(upload.object_key, upload.expires_at)
    return answer(upload_envelope(url, upload.file_name, upload.media_type, upload.byte_count))


async def decoded(context: Context, data: bytes) -> Picture:
    """The picture in `data`, when it is its turn: decoding takes a process of its own."""
    async with context.decoding:
        return await asyncio.to_thread(normalize, data)


def described(picture: Picture, account_id: str, file_name: str, now: int) -> Upload:
    upload_id = f"upl_{random_base62(22)}"
    stored = describe(f"uploads/{account_id}/{upload_id}.{picture.extension}", picture.data)
    return Upload(
        id=upload_id,
        account_id=account_id,
        object_key=stored.key,
        file_name=file_name,
        media_type=picture.media_type,
        byte_count=stored.byte_count,
        sha256=stored.sha256,
        width=picture.width,
        height=picture.height,
        created_at=now,
        expires_at=now + KEPT_MS,
    )
