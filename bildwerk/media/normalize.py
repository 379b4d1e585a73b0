"""Pictures that came from outside become pictures of our own making.

The type is found by decoding, never believed. Whatever was hidden behind, beside or within the pixels (scripts,
archives, places, previews) is gone, because a new file is written from the pixels alone.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bildwerk.domain.errors import BildwerkError, ImageTooLarge, UnsupportedMedia

DECODER = Path(__file__).with_name("decoder.py")
WALL_SECONDS = 10.0
EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
REFUSALS: dict[str, type[BildwerkError]] = {error.code: error for error in (UnsupportedMedia, ImageTooLarge)}


@dataclass(frozen=True, slots=True)
class Picture:
    """A file of ours: PNG, JPEG or WebP in sRGB, upright, without metadata. Sides are pixels."""

    data: bytes
    media_type: str
    width: int
    height: int

    @property
    def extension(self) -> str:
        return EXTENSIONS[self.media_type]


def normalize(data: bytes, seconds: float = WALL_SECONDS) -> Picture:
    """Decode `data` in a limited child process and write it anew, losslessly where it is lossless.

    Blocks for up to `seconds`. Raises `UnsupportedMedia` for what is no whole PNG, JPEG or WebP picture, and
    `ImageTooLarge` for more than 40 megapixels, more than one frame, or more time or memory than a picture may take.
    """
    try:
        child = run_decoder(data, seconds)
    except subprocess.TimeoutExpired:
        raise ImageTooLarge(f"the picture takes more than {seconds:g} seconds to decode") from None
    if child.returncode != 0:
        raise UnsupportedMedia("the picture cannot be decoded within the limits of memory and time")
    return read_answer(child.stdout)


def run_decoder(data: bytes, seconds: float) -> "subprocess.CompletedProcess[bytes]":
    """One child with no environment, no open files but its pipes, and no way to outlive `seconds`."""
    return subprocess.run(
        [sys.executable, "-I", str(DECODER)],
        input=data,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=seconds,
        env={},
        cwd="/",
        start_new_session=True,
        check=False,
    )


def read_answer(answer: bytes) -> Picture:
    head, _, body = answer.partition(b"\n")
    header = json.loads(head)
    if "error" in header:
        raise REFUSALS[header["error"]](header["message"])
    if header["media_type"] not in EXTENSIONS or not body:
        raise UnsupportedMedia
    return Picture(body, header["media_type"], int(header["width"]), int(header["height"]))
