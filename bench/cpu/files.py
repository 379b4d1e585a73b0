"""Where the weights and inputs of the bench lie. No torch: one of the peers does without it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Files:
    """All in one folder; safetensors under the names of the original release."""

    folder: Path

    @property
    def transformer(self) -> Path:
        return self.folder / "transformer.safetensors"

    @property
    def narrow_transformer(self) -> Path:
        """It takes no time: for a program that decodes nothing unless it has painted it."""
        return self.folder / "narrow-transformer.safetensors"

    @property
    def autoencoder(self) -> Path:
        return self.folder / "autoencoder.safetensors"

    @property
    def clip(self) -> Path:
        return self.folder / "clip.safetensors"

    def inputs(self, side: int) -> Path:
        return self.folder / f"inputs-{side}.safetensors"

    def openvino(self, side: int, kind: str) -> Path:
        return self.folder / f"openvino-{kind}-{side}.xml"

    def result(self, name: str, side: int) -> Path:
        return self.folder / f"result-{name.replace(', ', '-').replace(' ', '-')}-{side}.safetensors"
