"""The child process that decodes pictures from strangers: bytes in on stdin, a clean picture out on stdout.

Runs as a script of its own (`python -I decoder.py`) and imports nothing of ours, so that it starts quickly, holds no
secrets, and cannot be reached by what another library does to Pillow's settings. Before it reads the first byte it
gives up memory beyond 1 GB, CPU time beyond 10 seconds, and the right to open or write any file or socket.

The answer is one line of JSON, `{"media_type", "width", "height"}` or `{"error", "message"}`, and then the file.
"""

import io
import json
import resource
import signal
import struct
import sys
import warnings
from collections.abc import Iterator
from typing import NoReturn

from PIL import Image, ImageCms, ImageFile, ImageOps, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin

PLUGINS = (JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin)
"""All that may be needed, loaded now: later no file can be opened."""
MAX_PIXELS = 40_000_000
MAX_MEMORY_BYTES = 1 << 30
MAX_CPU_SECONDS = 10
FORMATS = ("PNG", "JPEG", "WEBP")
MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
UNSUPPORTED, TOO_LARGE = "unsupported_media", "image_too_large"


class PictureError(Exception):
    """The picture is not taken: `code` is a domain error's code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def main() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # whoever sends it to all of us means the parent, which finishes
    Image.preinit()
    give_up_rights()
    try:
        header, body = normalized(sys.stdin.buffer.read())
    except PictureError as refusal:
        header, body = {"error": refusal.code, "message": str(refusal)}, b""
    except MemoryError:
        header, body = {"error": TOO_LARGE, "message": "the picture needs more than 1 GB of memory to decode"}, b""
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + body)


def give_up_rights() -> None:
    limits = {
        resource.RLIMIT_CPU: MAX_CPU_SECONDS,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 3,
    }
    if sys.platform == "linux":  # elsewhere a process starts out with more addresses than that
        limits[resource.RLIMIT_AS] = MAX_MEMORY_BYTES
    for kind, limit in limits.items():
        resource.setrlimit(kind, (limit, limit))


def normalized(data: bytes) -> tuple[dict[str, object], bytes]:
    """The picture in `data` upright, in sRGB with 8 bits a channel, without metadata, as a new file.

    Stays lossless where `data` is; raises `PictureError`.
    """
    image = opened(data)
    target = target_format(image.format or "", data)
    clean = without_metadata(decoded(image))
    body = encoded(clean, target)
    return {"media_type": MEDIA_TYPES[target], "width": clean.width, "height": clean.height}, body


def opened(data: bytes) -> Image.Image:
    """Read the header only, and refuse what would be too much before any pixel is decoded."""
    guard_limits()
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError(TOO_LARGE, f"the picture has more than {MAX_PIXELS} pixels") from None
    except MemoryError:
        raise
    except Exception as error:
        refuse(error)
    if image.width * image.height > MAX_PIXELS:
        raise PictureError(TOO_LARGE, f"the picture has {image.width} x {image.height} pixels, more than {MAX_PIXELS}")
    if frames > 1:
        raise PictureError(TOO_LARGE, f"the picture has {frames} frames; only single pictures are taken")
    return image


def guard_limits() -> None:
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise AssertionError("Pillow was told to take truncated pictures")


def refuse(error: Exception) -> NoReturn:
    if "too large" in str(error).lower():
        raise PictureError(TOO_LARGE, "the picture's compressed text or color data is too large") from None
    raise PictureError(UNSUPPORTED, "the file is not a whole PNG, JPEG or WebP picture") from None


def target_format(source: str, data: bytes) -> str:
    if source == "WEBP" and any(kind == b"VP8L" for kind in riff_chunks(data)):
        return "PNG"
    return {"MPO": "JPEG"}.get(source, source)


def riff_chunks(data: bytes) -> Iterator[bytes]:
    """The names of the chunks in a WebP file."""
    position = 12
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        yield name
        position += 8 + size + size % 2


def decoded(image: Image.Image) -> Image.Image:
    """All pixels, upright, as RGB or, where any is transparent, RGBA."""
    try:
        image.load()
        profile = image.info.get("icc_profile")
        upright = ImageOps.exif_transpose(image)
        eight_bit = upright.point(lambda value: value / 257, "L") if upright.mode.startswith("I") else upright
        target = "RGBA" if eight_bit.has_transparency_data else "RGB"
        return in_srgb(eight_bit, profile, target) if profile else eight_bit.convert(target)
    except MemoryError:
        raise
    except Exception as error:
        refuse(error)


def in_srgb(image: Image.Image, profile: bytes, target: str) -> Image.Image:
    """`image` with its colors converted. A profile that cannot be used is ignored, as browsers do."""
    source = image.convert(target) if image.mode in ("P", "PA", "LA", "1") else image
    try:
        icc = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(source, icc, ImageCms.createProfile("sRGB"), outputMode=target)
    except (OSError, ImageCms.PyCMSError):
        return image.convert(target)
    return converted if converted is not None else image.convert(target)


def without_metadata(image: Image.Image) -> Image.Image:
    image.info.clear()
    return image


def encoded(image: Image.Image, target: str) -> bytes:
    file = io.BytesIO()
    options: dict[str, dict[str, object]] = {
        "PNG": {"compress_level": 2},
        "JPEG": {"quality": 95},
        "WEBP": {"quality": 95, "method": 2},
    }
    try:
        image.save(file, target, **options[target])
    except (OSError, ValueError):
        raise PictureError(TOO_LARGE, "the picture needs more memory than a picture may take") from None
    return file.getvalue()


if __name__ == "__main__":
    main()
