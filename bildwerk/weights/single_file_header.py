"""What a single file of weights says it holds: its tensors' names, types and shapes. Needs no torch."""

from collections.abc import Mapping
from pathlib import Path

from bildwerk.weights.errors import WeightsError
from bildwerk.weights.gguf_header import read_gguf_header
from bildwerk.weights.place import check_place
from bildwerk.weights.safetensors_header import TensorEntry, read_entries, shown
from bildwerk.weights.unsafe_suffixes import UNSAFE_SUFFIXES

SAFETENSORS_SUFFIXES = frozenset({".safetensors", ".sft"})
GGUF_SUFFIX = ".gguf"
SINGLE_FILE_SUFFIXES = SAFETENSORS_SUFFIXES | {GGUF_SUFFIX}


def read_single_file(path: Path) -> Mapping[str, TensorEntry]:
    """By the tensor's name. Raises `WeightsError` for whatever is wrong with the file, and for one of another kind."""
    suffix = path.suffix.lower()
    if suffix in UNSAFE_SUFFIXES:
        raise WeightsError(f"{path} is not read: such a file can run code when it is loaded (unsafe_format)")
    if suffix in SAFETENSORS_SUFFIXES:
        return read_entries(path)[path]
    if suffix == GGUF_SUFFIX:
        return read_gguf_entries(path)
    raise WeightsError(
        f"{path} is no file of weights: {shown(suffix)} is not one of {', '.join(sorted(SINGLE_FILE_SUFFIXES))}"
    )


def read_gguf_entries(path: Path) -> Mapping[str, TensorEntry]:
    """Raises `WeightsError`."""
    check_place(path)
    try:
        with path.open("rb") as file:
            return read_gguf_header(file, path.stat().st_size)
    except WeightsError as error:
        raise WeightsError(f"{path} {error}") from error
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
