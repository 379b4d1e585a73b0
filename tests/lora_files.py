"""Random LoRAs of rank 4 in the three namings that files come in, and the model that merging them would make."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from bildwerk.flux.transformer import Flux
from bildwerk.weights.layouts import transformer_layouts
from bildwerk.weights.load import load_transformer

RANK, ALPHA = 4, 2.0
FLUX_TINY = Path(__file__).parents[1] / "bildwerk" / "models" / "flux-tiny"
Names = Callable[[str, str], str]
Matrices = dict[str, tuple[Tensor, Tensor]]


def dotted(prefix: str) -> Names:
    return lambda owner, part: f"{prefix}{owner}.lora_{'A' if part == 'down' else 'B'}.weight"


def kohya(owner: str, part: str) -> str:
    return f"lora_unet_{owner.replace('.', '_')}.lora_{part}.weight"


@dataclass(frozen=True)
class Naming:
    """`layout` is the place of the layer names in `transformer_layouts`; kohya's files also have an alpha a layer."""

    names: Names
    layout: int
    alpha: float | None = None


NAMINGS: Mapping[str, Naming] = {
    "diffusers": Naming(dotted("transformer."), 0),
    "kohya": Naming(kohya, 1, ALPHA),
    "original": Naming(dotted(""), 1),
}


@cache
def flux_tiny() -> Flux:
    return load_transformer(FLUX_TINY / "transformer", torch.float32)


def random_matrices(flux: Flux, naming: Naming, seed: int, size: float = 0.4) -> Matrices:
    """down: R I and up: O R of every linear layer in a block."""
    generator = torch.Generator().manual_seed(seed)
    state = transformer_layouts(flux.params)[naming.layout].export(flux.state_dict())
    owners = sorted(name.removesuffix(".weight") for name, t in state.items() if "blocks" in name and t.ndim == 2)
    found: Matrices = {}
    for owner in owners:
        rows, columns = state[f"{owner}.weight"].shape
        down = torch.randn(RANK, columns, generator=generator) * columns**-0.5
        found[owner] = down, torch.randn(rows, RANK, generator=generator) * size
    return found


def write_lora(path: Path, matrices: Matrices, naming: Naming) -> Path:
    state: dict[str, Tensor] = {}
    for owner, (down, up) in matrices.items():
        state |= {naming.names(owner, "down"): down, naming.names(owner, "up"): up}
        if naming.alpha is not None:
            state[naming.names(owner, "down").rpartition(".lora")[0] + ".alpha"] = torch.tensor(naming.alpha)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path)
    return path


def random_lora(path: Path, seed: int, naming: str = "original", flux: Flux | None = None) -> Path:
    """A file for flux-tiny, unless another model is given."""
    return write_lora(path, random_matrices(flux or flux_tiny(), NAMINGS[naming], seed), NAMINGS[naming])


def merged(flux: Flux, naming: Naming, changes: list[tuple[Matrices, float]]) -> Flux:
    """A model of its own whose weights have the changes added, in float64 and rounded once."""
    layout = transformer_layouts(flux.params)[naming.layout]
    state = {name: tensor.double() for name, tensor in layout.export(flux.state_dict()).items()}
    factor = 1.0 if naming.alpha is None else naming.alpha / RANK
    for matrices, weight in changes:
        for owner, (down, up) in matrices.items():
            state[f"{owner}.weight"] = state[f"{owner}.weight"] + weight * factor * (up.double() @ down.double())
    dtype = flux.img_in.weight.dtype
    model = Flux(flux.params).eval().to(dtype)
    rows = layout.expand(model.state_dict()).rows
    model.load_state_dict({row.target: row.to_target([state[name].to(dtype) for name in row.sources]) for row in rows})
    return model.requires_grad_(False)
