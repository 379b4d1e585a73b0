"""Is a model folder complete? Read from names, sizes and headers alone, in milliseconds, without torch.

The folder is in the diffusers layout: `model_index.json` names the components, each a folder of its own. A safetensors
file says in its header where its data end, so that a truncated download shows without reading the data.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

INDEX = "model_index.json"
HEADER_LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100_000_000
PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""torch.save's zip, and bare pickles of protocols 2 to 5. Read as a header's length, each is absurdly large."""
NO_WEIGHTS = ("scheduler", "tokenizer", "tokenizer_2", "feature_extractor", "image_encoder")


def problems(folder: Path) -> list[str]:
    """What is missing or damaged, one sentence each that names the file; an empty list where nothing is."""
    if not folder.is_dir():
        return [f"the folder {folder} does not exist"]
    try:
        return list(_component_problems(folder))
    except (OSError, ValueError) as error:
        return [str(error)]


def _component_problems(folder: Path) -> Iterator[str]:
    if not (folder / INDEX).is_file():
        yield f"{folder / INDEX} is missing"
        return
    for name in _component_names(folder / INDEX):
        if not (folder / name).is_dir():
            yield f"the folder {folder / name} is missing"
        elif name not in NO_WEIGHTS:
            yield from _weight_problems(folder / name)


def _component_names(index: Path) -> list[str]:
    """Entries are `"name": [library, class]`; an optional component that a checkpoint lacks is `[null, null]`."""
    entries = _read_json(index)
    return [name for name, entry in entries.items() if isinstance(entry, list) and any(entry)]


def _weight_problems(folder: Path) -> Iterator[str]:
    if not (folder / "config.json").is_file():
        yield f"{folder / 'config.json'} is missing"
    files = _weight_files(folder)
    if not files:
        yield f"{folder} has no .safetensors file"
    for path in files:
        yield from safetensors_problems(path)


def _weight_files(folder: Path) -> list[Path]:
    """The shards that an index names, whether they are there or not; without an index, the files that are there."""
    for index in sorted(folder.glob("*.safetensors.index.json")):
        return sorted({folder / name for name in _read_json(index).get("weight_map", {}).values()})
    return sorted(folder.glob("*.safetensors"))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not a JSON object")
    return content


def safetensors_problems(path: Path) -> Iterator[str]:
    """Compare where the header says that the data end with where the file ends."""
    if not path.is_file():
        yield f"{path} is missing"
        return
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(HEADER_LENGTH_BYTES)
        header_length = int.from_bytes(prefix, "little")
        if len(prefix) < HEADER_LENGTH_BYTES or header_length > min(size, MAX_HEADER_BYTES):
            yield _not_safetensors(path, size, prefix)
            return
        end = HEADER_LENGTH_BYTES + header_length + _data_length(path, file.read(header_length))
    if end != size:
        yield f"{path} is {'truncated' if size < end else 'damaged'}: it has {size:,} bytes of {end:,}"


def _not_safetensors(path: Path, size: int, prefix: bytes) -> str:
    if prefix.startswith(PICKLE_STARTS):
        return f"{path} is a pickle, not a safetensors file; pickles can run code and are not read"
    return f"{path} is truncated or not a safetensors file: {size:,} bytes without a valid header"


def _data_length(path: Path, header: bytes) -> int:
    try:
        tensors = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        return max((int(entry["data_offsets"][1]) for entry in tensors.values()), default=0)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise ValueError(f"{path} has an unreadable safetensors header: {error}") from error
