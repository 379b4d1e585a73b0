"""What of a path on this machine a model could be loaded from, checked by the loader's own readers."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from bildwerk.checkpoints.errors import CheckpointError
from bildwerk.checkpoints.integrity import COMPONENTS, INDEX, problems
from bildwerk.checkpoints.listing import Listing, RemoteFile
from bildwerk.checkpoints.selection import select_folders
from bildwerk.weights.errors import WeightsError
from bildwerk.weights.place import check_place
from bildwerk.weights.signatures import component_prefixes
from bildwerk.weights.single_file_header import SINGLE_FILE_SUFFIXES, read_single_file

CACHE_PREFIX = "models--"


def adoptable_files(path: Path) -> Mapping[str, Path]:
    """Where each file goes in a model's folder, and where it lies now, without links.

    Raises `CheckpointError` for a file that is damaged, of another kind or no regular one, and for a folder without
    any.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 (links stay, so that they can be refused)
    try:
        files = _of_folder(snapshot_of(path)) if path.is_dir() else _of_file(path)
        for source in files.values():
            check_place(source)
        return {target: source.resolve(strict=True) for target, source in files.items()}
    except (OSError, WeightsError) as error:
        raise CheckpointError(f"not taken over: {error}") from error


def repository_of(path: Path) -> str | None:
    """The repository that a folder in the hub's cache belongs to; None elsewhere."""
    for part in reversed(Path(os.path.abspath(path)).parts):  # noqa: PTH100
        if part.startswith(CACHE_PREFIX):
            return part.removeprefix(CACHE_PREFIX).replace("--", "/", 1)
    return None


def snapshot_of(path: Path) -> Path:
    """Of a repository in the hub's cache its newest main; any other folder is itself."""
    snapshots = path / "snapshots"
    if not snapshots.is_dir():
        return path
    main = path / "refs" / "main"
    found = sorted(entry for entry in snapshots.iterdir() if entry.is_dir())
    named = snapshots / main.read_text(encoding="utf-8").strip() if main.is_file() else None
    if named in found:
        return named
    if len(found) == 1:
        return found[0]
    raise CheckpointError(
        f"{path} holds {len(found)} snapshots and does not say which is the newest: name one of the folders in "
        f"{snapshots}"
    )


def _of_file(path: Path) -> dict[str, Path]:
    if not component_prefixes(read_single_file(path)):
        raise CheckpointError(
            f"{path} is whole, but holds no part of FLUX (transformer, text encoders or autoencoder) by the names of "
            "its tensors; a LoRA is not a model"
        )
    return {path.name: path}


def _of_folder(folder: Path) -> dict[str, Path]:
    """A whole model in the layout of diffusers, or whatever parts of one are there, and single files."""
    if (folder / INDEX).exists():
        if found := problems(folder):
            raise CheckpointError(f"not taken over: {found[0]}")
        return {target: folder / target for target in _selected(folder, list(COMPONENTS))}
    parts = [name for name in COMPONENTS if (folder / name).is_dir()]
    files = {target: folder / target for target in _selected(folder, parts)}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SINGLE_FILE_SUFFIXES and not path.is_dir():
            files |= _of_file(path)
    if not files:
        raise CheckpointError(
            f"{folder} holds neither {INDEX} nor folders of a model ({', '.join(COMPONENTS)}) nor files of weights"
        )
    return files


def _selected(folder: Path, components: list[str]) -> Iterator[str]:
    names = [INDEX, *(f"{name}/{path.name}" for name in components for path in (folder / name).iterdir())]
    listing = Listing(str(folder), "", {name: RemoteFile(name, 0, None, None) for name in names})
    yield from select_folders(listing, components)
