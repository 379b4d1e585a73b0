"""Is a model folder complete? Read from names, sizes and headers alone, in milliseconds, without torch.

The folder is in the diffusers layout: `model_index.json` names the components, each a folder of its own. Or weights
lie in single files beside the tokenizers' folders; which components those hold is found out when they are loaded.
A safetensors file says in its header where its data end, so that a truncated download shows without reading the data.
"""

from collections.abc import Iterator
from pathlib import Path

from bildwerk.weights.errors import WeightsError
from bildwerk.weights.json_file import read_json
from bildwerk.weights.safetensors_header import read_header

INDEX = "model_index.json"
MAX_INDEX_BYTES = 16 * 2**20
TOKENIZERS = ["tokenizer", "tokenizer_2"]
SAFETENSORS_SUFFIXES = frozenset({".safetensors", ".sft"})
SINGLE_FILE_SUFFIXES = SAFETENSORS_SUFFIXES | {".gguf"}
WITHOUT_WEIGHTS = frozenset({"scheduler", "tokenizer", "tokenizer_2", "feature_extractor"})


def problems(folder: Path) -> list[str]:
    """What is missing or damaged, one sentence each that names the file; an empty list where nothing is."""
    if not folder.is_dir():
        return [f"the folder {folder} does not exist"]
    try:
        return list(_component_problems(folder))
    except (OSError, WeightsError) as error:
        return [str(error)]


def _component_problems(folder: Path) -> Iterator[str]:
    singles = sorted(path for path in folder.iterdir() if path.suffix.lower() in SINGLE_FILE_SUFFIXES)
    has_index = (folder / INDEX).exists() or not singles
    names = _component_names(folder / INDEX) if has_index else TOKENIZERS
    missing = [name for name in names if not (folder / name).is_dir()]
    for name in names:
        if name in missing and (name in WITHOUT_WEIGHTS or not singles):
            yield f"the folder {folder / name} is missing"
        elif name not in missing and name not in WITHOUT_WEIGHTS:
            yield from _weight_problems(folder / name)
    if not has_index or not WITHOUT_WEIGHTS.issuperset(missing):
        for path in singles:
            if path.suffix.lower() in SAFETENSORS_SUFFIXES:
                yield from _file_problems(path)


def _component_names(index: Path) -> list[str]:
    """Entries are `"name": [library, class]`; an optional component that a checkpoint lacks is `[null, null]`."""
    entries = read_json(index, MAX_INDEX_BYTES)
    return [name for name, entry in entries.items() if isinstance(entry, list) and any(entry)]


def _weight_problems(folder: Path) -> Iterator[str]:
    if not (folder / "config.json").is_file():
        yield f"{folder / 'config.json'} is missing"
    files = _weight_files(folder)
    if not files:
        yield f"{folder} has no .safetensors file"
    for path in files:
        yield from _file_problems(path)


def _weight_files(folder: Path) -> list[Path]:
    """The shards that an index names, whether they are there or not; without an index, the files that are there."""
    for index in sorted(folder.glob("*.safetensors.index.json")):
        return sorted({folder / str(name) for name in read_json(index, MAX_INDEX_BYTES).get("weight_map", {}).values()})
    return sorted(folder.glob("*.safetensors"))


def _file_problems(path: Path) -> Iterator[str]:
    if not path.is_file():
        yield f"{path} is missing"
        return
    try:
        with path.open("rb") as file:
            read_header(file, path.stat().st_size)
    except WeightsError as error:
        yield f"{path} {error}"
