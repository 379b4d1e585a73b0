"""Where pictures are written, and how: a file is there whole, or not at all."""

import contextlib
import os
import secrets
from pathlib import Path

from bildwerk.cli.failure import CommandError

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}


def format_of(path: Path) -> str:
    """The output format that the suffix asks for. Raises `CommandError` for a suffix that stands for none."""
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        known = ", ".join(FORMATS)
        raise CommandError(f"cannot tell the picture's format from {path.name!r}: use one of {known}") from None


def numbered(path: Path, number: int, count: int, seed: int) -> Path:
    """The file of picture `number` of `count`: {n} and {seed} in the name are filled in; where several pictures
    would share a name without either, it gets the number, as in lake-1.png."""
    name = path.name.replace("{n}", str(number)).replace("{seed}", str(seed))
    if count > 1 and name == path.name:
        name = f"{path.stem}-{number}{path.suffix}"
    return path.with_name(name)


def check_writable(path: Path) -> None:
    """Ask before the work whether its result can be kept. Raises `CommandError` where it cannot."""
    try:
        if path.is_dir():
            raise CommandError(f"cannot write {path}: it is a folder")
        if not path.parent.is_dir():
            raise CommandError(f"cannot write {path}: there is no folder {path.parent}")
        part = part_of(path)
        part.touch(exist_ok=False)
        part.unlink()
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error


def write_file(path: Path, data: bytes) -> None:
    """Write beside the target, sync, and rename. Raises `CommandError`; then the target is as it was before."""
    part = part_of(path)
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def part_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
