"""From an engine's pictures to what is stored of them."""

from collections.abc import Sequence

from bildwerk.domain.prediction import Output
from bildwerk.engine.request import GeneratedImage
from bildwerk.jobs.queue import Job
from bildwerk.store.files import StoredFile, output_key

EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


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


def merged_warnings(pictures: Sequence[GeneratedImage]) -> tuple[str, ...]:
    """Every warning once, in the order of its first mention."""
    return tuple(dict.fromkeys(warning for picture in pictures for warning in picture.warnings))
