"""A prediction's pictures as a client gets them: signed URLs, or data URIs where it asked for those."""

import asyncio
import base64

from bildwerk.api.context import Context
from bildwerk.domain.errors import FileGone
from bildwerk.domain.prediction import Output, Prediction


async def output_texts(context: Context, prediction: Prediction, *, inline: bool = True) -> list[str]:
    if prediction.as_base64 and inline:
        return [await data_uri(context, output) for output in prediction.outputs]
    return [
        context.file_urls.url(output.object_key, prediction.outputs_expire_at or 0) for output in prediction.outputs
    ]


async def data_uri(context: Context, output: Output) -> str:
    """Empty for a picture past its retention."""
    try:
        data = await asyncio.to_thread(context.files.get, output.object_key)
    except FileGone:
        return ""
    return f"data:{output.media_type};base64,{base64.b64encode(data).decode()}"
