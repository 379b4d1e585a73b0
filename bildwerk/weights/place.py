"""Where a file may lie: ordinary files inside the folder that was named, and nowhere else."""

import stat
from pathlib import Path

from bildwerk.weights.errors import WeightsError


def check_place(path: Path) -> None:
    """Raises `WeightsError` where the path leads to a device or a pipe, or by a link out of its folder."""
    try:
        target = path.resolve(strict=True)
        is_file = stat.S_ISREG(target.stat().st_mode)
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"{path} is missing or cannot be reached") from error
    if not is_file:
        raise WeightsError(f"{path} is not a regular file")
    if not any(target.is_relative_to(root) for root in _roots(path.parent.resolve())):
        raise WeightsError(f"{path} is a link that leads out of its folder, to {target}")


def _roots(folder: Path) -> list[Path]:
    """The folder, and where it is a snapshot in a Hugging Face cache, the blobs that its links lead to."""
    snapshots = [parent for parent in folder.parents if parent.name == "snapshots"]
    return [folder, *(parent.parent / "blobs" for parent in snapshots[:1])]
