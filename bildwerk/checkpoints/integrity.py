"""Is a model folder complete? Read from names, sizes and headers alone, in milliseconds, without torch.

The folder is in the diffusers layout: `model_index.json` names the components, each a folder of its own. Or weights lie
in single files beside the tokenizers' folders; which components those hold, the names of their tensors say. What must
be there is what the loader reads, found and checked by the same functions.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from bildwerk.checkpoints.disk_space import in_units
from bildwerk.checkpoints.errors import CheckpointError
from bildwerk.checkpoints.manifest import read_manifest
from bildwerk.checkpoints.staging import bytes_on_the_way, is_half_published
from bildwerk.weights.errors import WeightsError
from bildwerk.weights.json_file import read_json, read_text
from bildwerk.weights.safetensors_header import read_entries, weight_file
from bildwerk.weights.signatures import component_prefixes
from bildwerk.weights.single_file_header import SINGLE_FILE_SUFFIXES, read_single_file

INDEX = "model_index.json"
MAX_JSON_BYTES = 2**20
MAX_TOKENIZER_BYTES = 64 * 2**20

Check = Callable[[Path], object]
"""Of a component's folder, or of a file. Raises `WeightsError` with the sentence to show."""


def problems(folder: Path) -> list[str]:
    """What is missing or damaged, one sentence each that names the file; an empty list where nothing is."""
    found = _found_problems(folder)
    return [*_unfinished(folder), *found] if found else []


def _found_problems(folder: Path) -> list[str]:
    try:
        if not folder.is_dir():
            return [f"the folder {folder} does not exist"]
        if is_half_published(folder):
            return [f"the files of {folder} were being replaced when that was broken off, and do not belong together"]
        return _known_damage(folder) or list(_folder_problems(folder))
    except (CheckpointError, OSError, WeightsError) as error:
        return [str(error)]


def _unfinished(folder: Path) -> list[str]:
    count = bytes_on_the_way(folder)
    return [f"its download is not finished: {in_units(count)} are here"] if count else []


def _known_damage(folder: Path) -> list[str]:
    """What `bildwerk models verify` found and wrote down."""
    damaged = [path for path, record in read_manifest(folder).files.items() if record.damaged]
    return [f"{folder / path} is damaged: its content is not what it was when it came" for path in damaged]


def _folder_problems(folder: Path) -> Iterator[str]:
    singles = sorted(path for path in folder.iterdir() if path.suffix.lower() in SINGLE_FILE_SUFFIXES)
    in_parts = not (folder / INDEX).exists() and any((folder / name).is_dir() for name in COMPONENTS)
    return _single_file_problems(folder, singles) if singles or in_parts else _component_problems(folder)


def _single_file_problems(folder: Path, singles: list[Path]) -> Iterator[str]:
    """A component's folder goes before a single file; where every folder is there, the single files are not read."""
    missing = {name for name in COMPONENTS if not (folder / name).is_dir()}
    for name, checks in COMPONENTS.items():
        if name not in missing:
            yield from _failures(folder / name, checks)
        elif name in TOKENIZERS:
            yield f"the folder {folder / name} is missing"
    if missing & MODULES:
        yield from _holding_problems(folder, singles, missing & MODULES)


def _holding_problems(folder: Path, singles: list[Path], missing: frozenset[str] | set[str]) -> Iterator[str]:
    """Whether the single files hold each of the components that have no folder, and hold it once."""
    held: dict[str, list[Path]] = {name: [] for name in sorted(missing)}
    for path in singles:
        try:
            found = component_prefixes(read_single_file(path))
        except WeightsError as error:
            yield str(error)
            return
        for component in missing & found.keys():
            held[component].append(path)
    for name, holders in held.items():
        if not holders:
            yield f"the folder {folder / name} is missing, and no single file in {folder} holds that component"
        elif len(holders) > 1:
            yield f"{folder} holds the {name} twice: in {holders[0].name} and {holders[1].name}; remove one of them"


def _component_problems(folder: Path) -> Iterator[str]:
    named = _component_names(folder / INDEX)
    for name, checks in COMPONENTS.items():
        if name not in named:
            yield f"{folder / INDEX} does not name the component {name}"
        elif not (folder / name).is_dir():
            yield f"the folder {folder / name} is missing"
        else:
            yield from _failures(folder / name, checks)


def _component_names(index: Path) -> set[str]:
    """Entries are `"name": [library, class]`; a component that a checkpoint lacks is `[null, null]`."""
    entries = read_json(index, MAX_JSON_BYTES)
    return {name for name, entry in entries.items() if isinstance(entry, list) and any(entry)}


def _failures(folder: Path, checks: tuple[Check, ...]) -> Iterator[str]:
    for check in checks:
        try:
            check(folder)
        except WeightsError as error:
            yield str(error)


def _settings(name: str) -> Check:
    return lambda folder: read_json(folder / name, MAX_JSON_BYTES)


def _vocabulary(folder: Path) -> None:
    read_text(folder / "tokenizer.json", MAX_TOKENIZER_BYTES)


def _clip_vocabulary(folder: Path) -> None:
    whole = (folder / "tokenizer.json").exists()
    for name in ("tokenizer.json",) if whole else ("vocab.json", "merges.txt"):
        read_text(folder / name, MAX_TOKENIZER_BYTES)


def _weights(folder: Path) -> None:
    read_entries(weight_file(folder))


MODULE: tuple[Check, ...] = (_settings("config.json"), _weights)
COMPONENTS: dict[str, tuple[Check, ...]] = {
    "scheduler": (_settings("scheduler_config.json"),),
    "text_encoder": MODULE,
    "text_encoder_2": MODULE,
    "tokenizer": (_settings("tokenizer_config.json"), _clip_vocabulary),
    "tokenizer_2": (_settings("tokenizer_config.json"), _vocabulary),
    "transformer": MODULE,
    "vae": MODULE,
}
TOKENIZERS = frozenset({"tokenizer", "tokenizer_2"})
MODULES = frozenset(name for name, checks in COMPONENTS.items() if checks is MODULE)
