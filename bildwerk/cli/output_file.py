"""Where pictures are written, and how: a file is there whole, or not at all."""

import contextlib
import os
import re
import secrets
import stat
from pathlib import Path

from bildwerk.cli.failure import CommandError, UsageError

PLACEHOLDERS = ("{n}", "{seed}")
PLACEHOLDER = re.compile(r"\{[^{}]*\}")
FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}


def format_of(path: Path) -> str:
    """The output format that the suffix asks for. Raises `UsageError` for a suffix that stands for none."""
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        known = ", ".join(FORMATS)
        raise UsageError(f"cannot tell the picture's format from {path.name!r}: use one of {known}") from None


def check_placeholders(path: Path) -> None:
    """Raises `UsageError` for one in the name that is not filled in, such as a mistyped one."""
    for found in PLACEHOLDER.findall(path.name):
        if found not in PLACEHOLDERS:
            legal = " and ".join(PLACEHOLDERS)
            raise UsageError(f"{found[:60]} in {path.name[:100]!r} is not filled in: there are {legal}")


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
        target = target_of(path)
        part = part_of(target)
        part.touch(exist_ok=False)
        part.unlink()
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error


def write_file(path: Path, data: bytes) -> None:
    """Write beside the target, sync, and rename. Raises `CommandError`; then the target is as it was before."""
    try:
        _replace(target_of(path), data)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error


def _replace(target: Path, data: bytes) -> None:
    mode = _mode_of(target)
    part = part_of(target)
    try:
        with part.open("xb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(mode))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def target_of(path: Path) -> Path:
    """The file that `path` stands for: itself, or what its link leads to, which is written in place of the link.

    Raises `CommandError` where there is no folder for it, and where something other than a file is there.
    """
    try:
        target = path.resolve()
    except RuntimeError as error:
        raise CommandError(f"cannot write {path}: it is a link that leads to itself") from error
    if not target.parent.is_dir():
        raise CommandError(f"cannot write {path}: there is no folder {target.parent}")
    mode = _mode_of(target)
    if mode is not None and stat.S_ISDIR(mode):
        raise CommandError(f"cannot write {path}: it is a folder")
    if mode is not None and not stat.S_ISREG(mode):
        raise CommandError(f"cannot write {path}: it is a device or a pipe")
    return target


def _mode_of(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


def part_of(path: Path) -> Path:
    """Its name is short whatever the picture's name is, which may be as long as the file system allows."""
    return path.with_name(f".{secrets.token_hex(8)}.part")
