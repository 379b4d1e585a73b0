"""Is there room? Asked before anything is written."""

import shutil
from collections.abc import Callable
from pathlib import Path

from bildwerk.checkpoints.errors import CheckpointError

MARGIN_BYTES = 500 * 10**6
"""Left free for everything else that lives on the disk."""

FreeBytes = Callable[[Path], int]


def free_bytes(folder: Path) -> int:
    """On the disk that `folder` lies on, or will."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    return shutil.disk_usage(existing).free


def require_room(folder: Path, wanted: int, free: FreeBytes = free_bytes) -> None:
    """Raises `CheckpointError` that names both numbers where `wanted` bytes and the margin are not free."""
    available = free(folder)
    if wanted and wanted + MARGIN_BYTES > available:
        raise CheckpointError(
            f"the disk of {folder} has {in_units(available)} free, but {in_units(wanted + MARGIN_BYTES)} are needed: "
            f"{in_units(wanted)} of files and {in_units(MARGIN_BYTES)} to spare. Make room, or set BILDWERK_MODELS to "
            "a folder on another disk"
        )


def in_units(count: int) -> str:
    """Bytes as people read them, in powers of ten as hubs and disks count."""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
