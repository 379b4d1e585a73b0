import io
import random
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageCms

from bildwerk.domain.errors import BildwerkError, ImageTooLarge, UnsupportedMedia
from bildwerk.media import decoder
from bildwerk.media.normalize import normalize, read_answer, run_decoder
from tests.media.pictures import decode, encode, gradient, png_chunk, png_claiming, with_png_chunk

ORIENTATION, GPS = 0x0112, 0x8825


def zip_file() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../../evil.txt", "x")
    return file.getvalue()


NOT_PICTURES = {
    "empty": b"",
    "html": b"<html><script>alert(1)</script></html>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "pdf": b"%PDF-1.7\n1 0 obj\n",
    "exe": b"MZ\x90\x00" + bytes(200),
    "zip": zip_file(),
    "tar": b"a.txt".ljust(257, b"\0") + b"ustar\x0000" + bytes(300),
    "gif": encode(Image.new("P", (4, 4)), "GIF"),
    "bmp": encode(gradient(), "BMP"),
    "tiff": encode(gradient(), "TIFF"),
    "ico": encode(gradient(16, 16), "ICO"),
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "fits": b"SIMPLE  =                    T".ljust(2880),
    "jpeg 2000": b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(40),
    "noise": bytes(range(256)) * 8,
}


@pytest.mark.parametrize("data", NOT_PICTURES.values(), ids=NOT_PICTURES.keys())
def test_what_is_no_png_jpeg_or_webp_is_refused(data: bytes) -> None:
    with pytest.raises(UnsupportedMedia):
        normalize(data)


@pytest.mark.parametrize(("kind", "media_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")])
def test_each_kind_comes_back_as_itself(kind: str, media_type: str) -> None:
    picture = normalize(encode(gradient(), kind))
    assert (picture.media_type, picture.width, picture.height) == (media_type, 24, 16)
    assert decode(picture.data).size == (24, 16)


def test_png_stays_lossless() -> None:
    assert decode(normalize(encode(gradient())).data).tobytes() == gradient().tobytes()


def test_lossless_webp_becomes_a_lossless_png() -> None:
    picture = normalize(encode(gradient(), "WEBP", lossless=True))
    assert picture.media_type == "image/png"
    assert decode(picture.data).tobytes() == gradient().tobytes()


def test_lossy_pictures_stay_close() -> None:
    for kind in ("JPEG", "WEBP"):
        source = encode(gradient(), kind, quality=90)
        before, after = decode(source).convert("RGB").tobytes(), decode(normalize(source).data).convert("RGB").tobytes()
        assert sum(abs(a - b) for a, b in zip(before, after, strict=True)) / len(before) < 4


TRAILERS = {
    "js": b"*/=alert(1)//",
    "html": b"<script>x</script>",
    "zip": zip_file(),
    "phar": b"<?php __HALT_COMPILER();",
}


@pytest.mark.parametrize("trailer", TRAILERS.values(), ids=TRAILERS.keys())
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_what_hides_behind_the_pixels_is_gone(kind: str, trailer: bytes) -> None:
    picture = normalize(encode(gradient(), kind) + trailer)
    assert trailer not in picture.data
    assert decode(picture.data).size == (24, 16)


def test_comments_and_text_are_gone() -> None:
    png = with_png_chunk(encode(gradient()), b"tEXt", b"Comment\0<?php secret ?>")
    jpeg = encode(gradient(), "JPEG", comment=b"<?php secret ?>")
    assert all(b"secret" not in normalize(data).data for data in (png, jpeg))


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    tags.get_ifd(GPS)[2] = (52.0, 31.0, 12.0)
    return tags


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_is_turned_upright_and_says_no_longer_where_it_was_taken(kind: str) -> None:
    picture = normalize(encode(gradient(24, 16), kind, exif=exif(6)))
    result = decode(picture.data)
    assert result.size == (picture.width, picture.height) == (16, 24)
    assert not result.getexif()
    assert "exif" not in result.info


def srgb_profile() -> bytes:
    profile: bytes = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile


def test_colors_of_another_profile_become_srgb() -> None:
    # A profile whose red is sRGB's blue, and the other way round.
    swapped = srgb_profile().replace(b"rXYZ", b"none").replace(b"bXYZ", b"rXYZ").replace(b"none", b"bXYZ")
    source = encode(Image.new("RGB", (8, 8), (200, 100, 20)), icc_profile=swapped)
    result = decode(normalize(source).data)
    assert "icc_profile" not in result.info
    assert max(abs(a - b) for a, b in zip(result.getpixel((0, 0)), (20, 100, 200), strict=True)) <= 2


def test_an_srgb_profile_is_taken_off_and_changes_nothing() -> None:
    result = decode(normalize(encode(gradient(), icc_profile=srgb_profile())).data)
    assert "icc_profile" not in result.info
    pairs = zip(result.tobytes(), gradient().tobytes(), strict=True)
    assert max(abs(a - b) for a, b in pairs) <= 2


def test_a_profile_that_is_none_is_ignored() -> None:
    result = decode(normalize(encode(gradient(), icc_profile=b"not a profile")).data)
    assert result.tobytes() == gradient().tobytes()


def test_cmyk_becomes_rgb() -> None:
    result = decode(normalize(encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")).data)
    red, green, blue = result.convert("RGB").getpixel((4, 4))
    assert result.mode == "RGB"
    assert red > 200 > 80 > max(green, blue)


def test_sixteen_bits_become_eight() -> None:
    deep = Image.new("I;16", (8, 8), 32_896)  # 128 * 257
    result = decode(normalize(encode(deep)).data)
    assert result.convert("RGB").getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_mode_keeps_its_look(mode: str) -> None:
    source = gradient(mode=mode)
    result = decode(normalize(encode(source)).data)
    assert result.mode == ("RGBA" if "A" in mode else "RGB")
    assert result.convert("RGBA").tobytes() == source.convert("RGBA").tobytes()


def test_transparency_is_kept() -> None:
    image = gradient(mode="RGBA")
    image.putalpha(77)
    for kind in ("PNG", "WEBP"):
        assert decode(normalize(encode(image, kind)).data).getpixel((3, 3))[3] == 77
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    assert decode(normalize(encode(palette, transparency=0)).data).getpixel((0, 0))[3] == 0


BOMBS = {
    "50,000 x 50,000": png_claiming(50_000, 50_000),
    "1 x 2^31 - 1": png_claiming(1, 2**31 - 1),
    "1 x 2^31": png_claiming(1, 2**31),
    "40 megapixels and a row": png_claiming(8_000, 5_001),
    "animated png": encode(gradient(), "PNG", save_all=True, append_images=[gradient(mode="L").convert("RGB")]),
    "animated webp": encode(gradient(), "WEBP", save_all=True, append_images=[Image.new("RGB", (24, 16))] * 50),
    "compressed text": with_png_chunk(
        encode(gradient()), b"zTXt", b"Comment\0\0" + zlib.compress(bytes(90_000_000), 9)
    ),
    "compressed profile": with_png_chunk(encode(gradient()), b"iCCP", b"icc\0\0" + zlib.compress(bytes(90_000_000), 9)),
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_is_refused_before_it_is_decoded(data: bytes) -> None:
    with pytest.raises(ImageTooLarge):
        normalize(data)


def truncated(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def with_wrong_crc(data: bytes) -> bytes:
    position = data.index(b"IDAT") + 6
    return data[:position] + bytes([data[position] ^ 255]) + data[position + 1 :]


def without_pixels() -> bytes:
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IEND", b"")


BROKEN = {
    "truncated png": truncated(encode(gradient(200, 200))),
    "truncated jpeg": truncated(encode(gradient(200, 200), "JPEG")),
    "truncated webp": truncated(encode(gradient(200, 200), "WEBP")),
    "wrong checksum": with_wrong_crc(encode(gradient())),
    "no pixels": without_pixels(),
    "0 x 0": png_claiming(0, 0),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_half_a_picture_is_refused(data: bytes) -> None:
    with pytest.raises(UnsupportedMedia):
        normalize(data)


def test_another_librarys_settings_do_not_reach_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(ImageTooLarge):
        normalize(png_claiming(50_000, 50_000))


def test_the_limit_is_set_anew_for_every_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(decoder.PictureError) as caught:
        decoder.opened(png_claiming(50_000, 50_000))
    assert caught.value.code == "image_too_large"
    assert Image.MAX_IMAGE_PIXELS == 40_000_000


def test_a_decoder_that_hangs_is_killed() -> None:
    with pytest.raises(ImageTooLarge, match=r"more than 0\.001 seconds"):
        normalize(encode(gradient()), seconds=0.001)


def limits_of(pid: int) -> dict[str, str]:
    """The soft limits of a process by their names in Linux."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    return {line[:26].strip(): line[26:47].strip() for line in lines}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_child_gives_up_its_rights_before_it_reads() -> None:
    with subprocess.Popen(
        [sys.executable, "-I", decoder.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        child.stdin.write(bytes(1_000_000))  # more than a pipe holds: returns when the child has begun to read
        limits = limits_of(child.pid)
        child.communicate()
    assert limits["Max address space"] == str(1 << 30)
    assert limits["Max cpu time"] == "10"
    assert (limits["Max file size"], limits["Max open files"]) == ("0", "3")


def test_a_signal_to_every_process_lets_a_picture_be_decoded() -> None:
    with subprocess.Popen(
        [sys.executable, "-I", decoder.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        child.stdin.write(encode(gradient()) + bytes(1_000_000))  # returns when the child has begun to read, as above
        child.terminate()
        answer, _ = child.communicate()
    assert (child.returncode, read_answer(answer).width) == (0, 24)


def test_a_decoder_that_dies_makes_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    died = subprocess.CompletedProcess[bytes]([], returncode=-11, stdout=b"", stderr=b"")
    monkeypatch.setattr("bildwerk.media.normalize.run_decoder", lambda data, seconds: died)
    with pytest.raises(UnsupportedMedia):
        normalize(encode(gradient()))


def test_the_child_has_no_environment_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/nonexistent/secret")
    assert run_decoder(encode(gradient()), 10).returncode == 0


def test_random_damage_causes_no_other_error() -> None:
    source = random.Random(5)
    for kind in ("PNG", "JPEG", "WEBP"):
        whole = encode(gradient(64, 64), kind)
        for _ in range(4):
            broken = bytearray(whole)
            for _ in range(8):
                broken[source.randrange(len(broken))] = source.randrange(256)
            try:
                assert normalize(bytes(broken)).width > 0
            except BildwerkError as error:
                assert error.code in ("unsupported_media", "image_too_large")  # noqa: PT017
