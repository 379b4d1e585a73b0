"""Pictures become files: PNG, JPEG or WebP bytes that carry the numbers they were made with.

No torch here, so that the engine without torch writes the same files.
"""

from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from typing import Any

from PIL import ExifTags, Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from bildwerk.engine.request import GenerateRequest

NOT_INSTALLED = "(not installed)"
MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
PNG_TEXT_KEY = "parameters"
PNG_COMPRESSION = 1
"""zlib's fastest: three to six times quicker than its default, for files a tenth larger."""
JPEG_QUALITY = 95
WEBP_QUALITY = 92


@dataclass(frozen=True, slots=True)
class EncodedImage:
    data: bytes
    media_type: str
    width: int
    height: int


def parameters_text(model: str, request: GenerateRequest, seed: int) -> str:
    """The prompt and a line of facts, as other tools of the field write and read them."""
    facts = {
        "Steps": str(request.steps),
        "Seed": str(seed),
        "Size": f"{request.width}x{request.height}",
        "Model": model,
        "Version": f"bildwerk {own_version()}",
    }
    if request.guidance is not None:
        facts["CFG scale"] = f"{request.guidance:g}"
    if request.active_loras:
        facts["Loras"] = " ".join(f"{lora.name}:{lora.scale:g}" for lora in request.active_loras)
    line = ", ".join(f"{name}: {value}" for name, value in facts.items())
    return f"{_writable(request.prompt)}\n{line}"


@cache
def own_version() -> str:
    """Looked up once: it is read from a file, and takes as long as encoding a small picture. A source that is not
    installed, as `bench` runs it elsewhere, has none."""
    try:
        return version("bildwerk")
    except PackageNotFoundError:
        return NOT_INSTALLED


def _writable(text: str) -> str:
    """Half a surrogate pair is no text, and a zero byte ends the text of a PNG chunk."""
    return text.replace("\0", " ").encode(errors="replace").decode()


def scale_to(image: Image.Image, width: int, height: int) -> Image.Image:
    """Lanczos-scaled to cover width x height; a difference in aspect is cropped, never squeezed."""
    if image.size == (width, height):
        return image
    return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)


def encode(image: Image.Image, output_format: str, parameters: str | None) -> EncodedImage:
    """image: RGB. parameters: text for the file's metadata, None for a file without any."""
    buffer = BytesIO()
    image.save(buffer, output_format.upper(), **_options(output_format, parameters))
    return EncodedImage(buffer.getvalue(), MEDIA_TYPES[output_format], image.width, image.height)


def _options(output_format: str, parameters: str | None) -> dict[str, Any]:
    match output_format:
        case "png":
            return {"compress_level": PNG_COMPRESSION, "pnginfo": _png_text(parameters)}
        case "jpeg":
            return {"quality": JPEG_QUALITY, "subsampling": 0, **_exif(parameters)}
        case "webp":
            return {"quality": WEBP_QUALITY, "method": 2, **_exif(parameters)}
        case _:
            raise ValueError(f"output format {output_format!r} is not one of {', '.join(MEDIA_TYPES)}")


def _png_text(parameters: str | None) -> PngInfo | None:
    if parameters is None:
        return None
    info = PngInfo()
    info.add_itxt(PNG_TEXT_KEY, parameters)
    return info


def _exif(parameters: str | None) -> dict[str, bytes]:
    if parameters is None:
        return {}
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"UNICODE\0" + parameters.encode("utf-16-be")
    return {"exif": exif.tobytes()}


def read_parameters(image: Image.Image) -> str | None:
    """The text that `encode` put into an opened file, or None."""
    if PNG_TEXT_KEY in image.info:
        return str(image.info[PNG_TEXT_KEY])
    comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    return None if comment is None else bytes(comment).removeprefix(b"UNICODE\0").decode("utf-16-be")
