"""Which of a repository's files a model needs: what the loader reads, each once, and nothing that can run code."""

import re
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from bildwerk.checkpoints.errors import CheckpointError
from bildwerk.checkpoints.integrity import COMPONENTS, INDEX, MODULES, TOKENIZERS
from bildwerk.checkpoints.listing import Listing, RemoteFile
from bildwerk.weights.safetensors_header import STEMS
from bildwerk.weights.single_file_header import SINGLE_FILE_SUFFIXES
from bildwerk.weights.unsafe_suffixes import UNSAFE_SUFFIXES

Selection = Mapping[str, RemoteFile]
"""What is taken, by where it goes in the model's folder."""

LISTED = 20


def select_folders(listing: Listing, components: Collection[str] = tuple(COMPONENTS)) -> Selection:
    """The files of the diffusers layout. Raises `CheckpointError` that names what the repository lacks."""
    unknown = sorted(set(components) - COMPONENTS.keys())
    if unknown:
        raise CheckpointError(f"{unknown[0]!r} is not one of a model's folders, which are {', '.join(COMPONENTS)}")
    chosen = [path for name in components for path in _component(listing, name)]
    if set(components) == COMPONENTS.keys():
        chosen.insert(0, _required(listing, INDEX))
    return {path: listing.files[path] for path in chosen}


def select_files(listing: Listing, patterns: Collection[str]) -> Selection:
    """The files that the patterns match. Those of no component's folder go to the top of the model's folder.

    Raises `CheckpointError` for a pattern that matches nothing, and for files that are not read.
    """
    chosen: dict[str, RemoteFile] = {}
    for pattern in patterns:
        matching = [path for path in listing.files if fnmatchcase(path, pattern)]
        if not matching:
            raise CheckpointError(f"{listing.repository} has no file {pattern!r}; {single_files(listing)}")
        for path in matching:
            _check_safe(listing, path)
            chosen[_target(listing, path, chosen)] = listing.files[path]
    return chosen


def single_files(listing: Listing) -> str:
    """A clause that names the files that could be taken."""
    found = [path for path in listing.files if PurePosixPath(path).suffix.lower() in SINGLE_FILE_SUFFIXES]
    named = ", ".join(sorted(found)[:LISTED]) + (f" and {len(found) - LISTED} more" if len(found) > LISTED else "")
    return f"its files of weights are {named}" if found else "it holds no weights that are read here"


def _component(listing: Listing, name: str) -> Iterator[str]:
    if name in MODULES:
        yield _required(listing, f"{name}/config.json")
        yield from _weights(listing, name)
    elif name in TOKENIZERS:
        yield _required(listing, f"{name}/tokenizer_config.json")
        yield from _vocabulary(listing, name)
    else:
        yield _required(listing, f"{name}/scheduler_config.json")


def _weights(listing: Listing, folder: str) -> list[str]:
    """One whole file, or an index and its shards."""
    for stem in STEMS:
        whole, index = f"{folder}/{stem}.safetensors", f"{folder}/{stem}.safetensors.index.json"
        if whole in listing.files:
            return [whole]
        if index in listing.files:
            shard = re.compile(rf"{re.escape(f'{folder}/{stem}')}-\d{{5}}-of-\d{{5}}\.safetensors")
            return [index, *sorted(path for path in listing.files if shard.fullmatch(path))]
    raise CheckpointError(
        f"{listing.repository} has no safetensors files in {folder}/, so it is not in the layout of diffusers: "
        f"{single_files(listing)}; choose with --file"
    )


def _vocabulary(listing: Listing, folder: str) -> list[str]:
    whole = f"{folder}/tokenizer.json"
    if whole in listing.files or folder != "tokenizer":
        return [_required(listing, whole)]
    return [_required(listing, f"{folder}/{name}") for name in ("vocab.json", "merges.txt")]


def _required(listing: Listing, path: str) -> str:
    if path in listing.files:
        return path
    raise CheckpointError(
        f"{listing.repository} has no {path}, so it is not in the layout of diffusers: {single_files(listing)}; choose "
        "with --file"
    )


def _check_safe(listing: Listing, path: str) -> None:
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in UNSAFE_SUFFIXES:
        raise CheckpointError(
            f"{path} of {listing.repository} is not fetched: such a file can run code when it is loaded "
            f"(unsafe_format); {single_files(listing)}"
        )
    if suffix not in SINGLE_FILE_SUFFIXES | {".json", ".txt"}:
        raise CheckpointError(f"{path} of {listing.repository} is nothing that a model is loaded from")


def _target(listing: Listing, path: str, chosen: Selection) -> str:
    folder, _, rest = path.partition("/")
    target = path if rest and folder in COMPONENTS else PurePosixPath(path).name
    if target in chosen and chosen[target].path != path:
        raise CheckpointError(f"{chosen[target].path} and {path} of {listing.repository} would both become {target}")
    return target
