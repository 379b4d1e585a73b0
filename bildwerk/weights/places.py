"""Where in a model's folder each component lies: in a folder of its own, or in a file beside such folders.

The layout of diffusers comes first: the published folders of FLUX hold the same weights once more as single files.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bildwerk.weights.config_file import ConfigFile
from bildwerk.weights.errors import WeightsError
from bildwerk.weights.read_gguf import open_gguf
from bildwerk.weights.read_safetensors import find_safetensors, open_safetensors
from bildwerk.weights.scaled_weights import ScaledWeights
from bildwerk.weights.sections import sections
from bildwerk.weights.signatures import Component
from bildwerk.weights.tensor_source import TensorSource
from bildwerk.weights.unsafe_suffixes import UNSAFE_SUFFIXES

READERS: dict[str, Callable[[Path], TensorSource]] = {
    ".safetensors": open_safetensors,
    ".sft": open_safetensors,
    ".gguf": open_gguf,
}
MAX_FILES = 1000


@dataclass(frozen=True, slots=True)
class Place:
    """A component's tensors, and its configuration where there is one."""

    files: TensorSource
    config: ConfigFile | None = None


def in_folder(folder: Path) -> Place:
    """A component in the layout of diffusers. Raises `WeightsError`."""
    config = ConfigFile.read(folder / "config.json")
    return Place(ScaledWeights(find_safetensors(folder)), config)


def find_places(folder: Path) -> dict[Component, Place]:
    """Every component of a model. Raises `WeightsError` where one is missing, ambiguous or damaged."""
    without_folder = [component for component in Component if not (folder / component).exists()]
    singles = _single_files(folder) if without_folder else {}
    if any(component not in singles for component in without_folder):
        _check_no_pickles(folder)
    return {
        component: singles[component] if component in without_folder and component in singles else in_folder(place)
        for component, place in ((component, folder / component) for component in Component)
    }


def _single_files(folder: Path) -> dict[Component, Place]:
    found: dict[Component, Place] = {}
    for path in _files(folder):
        if reader := READERS.get(path.suffix.lower()):
            for component, source in sections(reader(path)).items():
                if component in found:
                    raise WeightsError(
                        f"{folder} holds a {component} twice: in {found[component].files.path} and {path}"
                    )
                found[component] = Place(source)
    return found


def _files(folder: Path) -> Iterator[Path]:
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise WeightsError(f"{folder} cannot be read: {error.strerror}") from error
    if len(paths) > MAX_FILES:
        raise WeightsError(f"{folder} holds {len(paths):,} files; at most {MAX_FILES:,} are looked at")
    return (path for path in paths if not path.is_dir())


def _check_no_pickles(folder: Path) -> None:
    unsafe = [path for path in _files(folder) if path.suffix.lower() in UNSAFE_SUFFIXES]
    if unsafe:
        raise WeightsError(
            f"{unsafe[0]} is not read: such a file can run code when it is loaded (unsafe_format). "
            f"Weights are read from {', '.join(READERS)} files"
        )
