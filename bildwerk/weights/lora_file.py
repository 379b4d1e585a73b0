"""A LoRA file's content, read at once: whatever becomes of the file afterwards, what was read stays what it was.

Files of models are mapped into memory. These are small and come and go while a model runs, and one that is cut off
while it is mapped would end the process.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from io import BytesIO

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from bildwerk.weights.errors import WeightsError
from bildwerk.weights.lora_place import LoraPlace, version_of
from bildwerk.weights.safetensors_header import LENGTH_BYTES, TensorEntry, read_header


@dataclass(frozen=True, slots=True, eq=False)
class LoraFile:
    """A safetensors file whose header was checked. `title` is what messages call it."""

    title: str
    version: str
    data: bytes
    entries: Mapping[str, TensorEntry]

    @staticmethod
    def read(place: LoraPlace) -> "LoraFile":
        """Raises `WeightsError` for whatever is wrong with it."""
        try:
            with place.opened() as file:
                version = version_of(file)
                data = file.read()
                is_whole = version == version_of(file)
        except OSError as error:
            raise WeightsError(f"{place.title} cannot be read: {error.strerror}") from error
        if not is_whole:
            raise WeightsError(f"{place.title} was changed while it was read")
        try:
            return LoraFile(place.title, version, data, read_header(BytesIO(data), len(data)))
        except WeightsError as error:
            raise WeightsError(f"{place.title} {error}") from error

    @property
    def metadata(self) -> Mapping[str, object]:
        """What the header says beside the tensors."""
        length = int.from_bytes(self.data[:LENGTH_BYTES], "little")
        header = json.loads(self.data[LENGTH_BYTES : LENGTH_BYTES + length])
        found = header.get("__metadata__")
        return found if isinstance(found, dict) else {}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: entry.shape for name, entry in self.entries.items()}

    def dtypes(self) -> dict[str, str]:
        return {name: entry.dtype for name, entry in self.entries.items()}

    def load(self, names: Collection[str]) -> dict[str, Tensor]:
        try:
            tensors = load(self.data)
        except SafetensorError as error:
            raise WeightsError(f"{self.title} cannot be read: {error}") from error
        return {name: tensors[name] for name in names}
