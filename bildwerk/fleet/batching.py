"""From claimed jobs to what an engine is asked, and from its pictures to what is stored."""

import json
from collections.abc import Sequence
from typing import Any

from bildwerk.domain.prediction import Output
from bildwerk.engine.request import GeneratedImage, GenerateRequest
from bildwerk.jobs.queue import Job
from bildwerk.store.files import StoredFile, output_key

EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


def engine_input(request: GenerateRequest) -> dict[str, Any]:
    """What of a request is kept in a prediction's row: everything but its id, which is the prediction's own."""
    return {name: getattr(request, name) for name in GenerateRequest.__slots__ if name != "id"}


def as_request(job: Job) -> GenerateRequest:
    return GenerateRequest(**job.input, id=job.claim.prediction_id)


def batch_key_text(model: str, request: GenerateRequest) -> str:
    """The batch key as the queue compares it."""
    return json.dumps([model, *request.batch_key])


def picture_key(job: Job, picture: GeneratedImage) -> str:
    claim = job.claim
    extension = EXTENSIONS[picture.media_type]
    return output_key(job.account_id, claim.prediction_id, claim.claim_no, picture.index, extension)


def as_output(job: Job, picture: GeneratedImage, stored: StoredFile) -> Output:
    return Output(
        index=picture.index,
        claim_no=job.claim.claim_no,
        object_key=stored.key,
        sha256=stored.sha256,
        byte_count=stored.byte_count,
        media_type=picture.media_type,
        width=picture.width,
        height=picture.height,
        seed=picture.seed,
    )


def timings(job: Job, pictures: Sequence[GeneratedImage]) -> dict[str, float]:
    """Milliseconds: in the queue, of inference, and of each stage of it. Pictures of a batch share their stages."""
    stages = {stage: round(seconds * 1000, 3) for stage, seconds in pictures[0].timings.items()}
    return {"queue": job.queued_ms, "inference": round(sum(stages.values()), 3), **stages}


def merged_warnings(pictures: Sequence[GeneratedImage]) -> tuple[str, ...]:
    """Every warning once, in the order of its first mention."""
    return tuple(dict.fromkeys(warning for picture in pictures for warning in picture.warnings))
