"""LoRA files of every naming change the velocity as merging them into the weights would, and only while applied."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bildwerk.flux.transformer import Flux
from bildwerk.weights.assign import Target
from bildwerk.weights.errors import WeightsError
from bildwerk.weights.layouts import transformer_layouts
from bildwerk.weights.load import build_transformer
from bildwerk.weights.lora import Lora, applied, load_lora
from bildwerk.weights.places import Place
from bildwerk.weights.read_safetensors import open_safetensors
from bildwerk.weights.scaled_weights import ScaledWeights
from tests.parity.references import reference_transformer, relative_error, twin_transformer
from tests.weights import published
from tests.weights.published import State, velocity, write

RANK, ALPHA = 4, 2.0
ORIGINAL = [
    "img_in",
    "double_blocks.0.img_attn.qkv",
    "double_blocks.1.txt_mlp.2",
    "double_blocks.1.img_mod.lin",
    "single_blocks.0.linear1",
    "single_blocks.1.linear2",
    "final_layer.adaLN_modulation.1",
    "vector_in.in_layer",
]
DIFFUSERS = [
    "x_embedder",
    "transformer_blocks.0.attn.to_k",
    "transformer_blocks.0.attn.add_v_proj",
    "transformer_blocks.1.ff_context.net.2",
    "single_transformer_blocks.0.attn.to_q",
    "single_transformer_blocks.0.proj_mlp",
    "norm_out.linear",
    "time_text_embed.text_embedder.linear_1",
]


def original(prefix: str, down: str, up: str) -> Callable[[str, str], str]:
    return lambda owner, part: f"{prefix}{owner}.{down if part == 'down' else up}.weight"


def kohya(owner: str, part: str) -> str:
    return f"lora_unet_{owner.replace('.', '_')}.lora_{part}.weight"


NAMINGS = {
    "diffusers": (DIFFUSERS, original("transformer.", "lora_A", "lora_B")),
    "diffusers, old": (DIFFUSERS, original("transformer.", "lora.down", "lora.up")),
    "original": (ORIGINAL, original("", "lora_A", "lora_B")),
    "ComfyUI": (ORIGINAL, original("diffusion_model.", "lora_down", "lora_up")),
    "kohya": (ORIGINAL, kohya),
    "kohya, names of diffusers": (DIFFUSERS, kohya),
}


@pytest.fixture(scope="module")
def flux() -> Flux:
    return twin_transformer(reference_transformer(published.TRANSFORMER), published.TRANSFORMER)


def exported(flux: Flux, owners: list[str]) -> State:
    return transformer_layouts(flux.params)[owners is ORIGINAL].export(flux.state_dict())


def matrices(flux: Flux, owners: list[str], seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    """down: R I and up: O R of each owner, about as large as its weights."""
    generator, state = torch.Generator().manual_seed(seed), exported(flux, owners)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    shapes = {owner: state[f"{owner}.weight"].shape for owner in owners}
    return {owner: (draw(RANK, i) * i**-0.5, draw(o, RANK)) for owner, (o, i) in shapes.items()}


def merged(flux: Flux, owners: list[str], changes: list[tuple[dict[str, tuple[Tensor, Tensor]], float]]) -> Flux:
    """A model whose weights have the changes added to them, by the table of the file's layout."""
    state, layout = dict(exported(flux, owners)), transformer_layouts(flux.params)[owners is ORIGINAL]
    for matrices_, weight in changes:
        for owner, (down, up) in matrices_.items():
            state[f"{owner}.weight"] = state[f"{owner}.weight"] + weight * (up @ down)
    model = Flux(flux.params).eval()
    rows = layout.expand(model.state_dict()).rows
    model.load_state_dict({row.target: row.to_target([state[source] for source in row.sources]) for row in rows})
    return model


def lora_file(
    path: Path, parts: dict[str, tuple[Tensor, Tensor]], named: Callable[[str, str], str], alpha: float | None = None
) -> Path:
    state: State = {}
    for owner, (down, up) in parts.items():
        state |= {named(owner, "down"): down, named(owner, "up"): up}
        if alpha is not None:
            state[named(owner, "down").rpartition(".lora")[0] + ".alpha"] = torch.tensor(alpha)
    return write(path, state)


@pytest.mark.parametrize("alpha", [None, ALPHA])
@pytest.mark.parametrize(("owners", "named"), NAMINGS.values(), ids=NAMINGS.keys())
def test_velocity_is_that_of_the_merged_weights(
    owners: list[str], named: Callable[[str, str], str], alpha: float | None, flux: Flux, tmp_path: Path
) -> None:
    parts = matrices(flux, owners, seed=1)
    lora = load_lora(lora_file(tmp_path / "a.safetensors", parts, named, alpha), flux, torch.float32)
    expected = velocity(merged(flux, owners, [(parts, 0.8 * (1.0 if alpha is None else alpha / RANK))]))
    plain = velocity(flux)
    with applied(flux, [(lora, 0.8)]):
        assert relative_error(velocity(flux), expected) <= 2e-6
    assert relative_error(expected, plain) > 0.1
    assert torch.equal(velocity(flux), plain)


def with_metadata(path: Path, settings: str) -> Path:
    save_file(load_file(path), path, metadata={"lora_adapter_metadata": settings})
    return path


def test_the_alpha_in_the_header_counts(flux: Flux, tmp_path: Path) -> None:
    owners, named = NAMINGS["diffusers"]
    parts = matrices(flux, owners, seed=1)
    path = with_metadata(lora_file(tmp_path / "a.safetensors", parts, named), '{"transformer.lora_alpha": 2}')
    with applied(flux, [(load_lora(path, flux, torch.float32), 1.0)]):
        assert relative_error(velocity(flux), velocity(merged(flux, owners, [(parts, ALPHA / RANK)]))) <= 2e-6


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ('{"transformer.use_dora": true}', "use_dora, which is not implemented"),
        ('{"transformer.alpha_pattern": {"a": 1}}', "alpha_pattern, which is not implemented"),
        ('{"transformer.lora_alpha": "2"}', "finite number other than 0"),
        ('{"transformer.lora_alpha": NaN}', "finite number other than 0"),
        ("[]", "no JSON object"),
        ("[[[", "cannot be read"),
    ],
)
def test_metadata_that_cannot_be_honored_is_refused(settings: str, reason: str, flux: Flux, tmp_path: Path) -> None:
    owners, named = NAMINGS["diffusers"]
    path = with_metadata(lora_file(tmp_path / "a.safetensors", matrices(flux, owners, 1), named), settings)
    with pytest.raises(WeightsError, match=reason):
        load_lora(path, flux, torch.float32)


def two_loras(flux: Flux, folder: Path) -> tuple[Lora, Lora]:
    (owners, named), (others, other_named) = NAMINGS["original"], NAMINGS["diffusers"]
    first = lora_file(folder / "a.safetensors", matrices(flux, owners, seed=1), named)
    second = lora_file(folder / "b.safetensors", matrices(flux, others, seed=2), other_named)
    return load_lora(first, flux, torch.float32), load_lora(second, flux, torch.float32)


def test_several_at_once_add_up(flux: Flux, tmp_path: Path) -> None:
    owners, named = NAMINGS["original"]
    changes = [(matrices(flux, owners, seed), weight) for seed, weight in ((1, 0.8), (2, -0.5))]
    paths = [lora_file(tmp_path / f"{i}.safetensors", parts, named) for i, (parts, _) in enumerate(changes)]
    loras = [(load_lora(path, flux, torch.float32), weight) for path, (_, weight) in zip(paths, changes, strict=True)]
    with applied(flux, loras):
        assert relative_error(velocity(flux), velocity(merged(flux, owners, changes))) <= 2e-6


def test_interleaved_requests_equal_their_single_runs(flux: Flux, tmp_path: Path) -> None:
    first, second = two_loras(flux, tmp_path)
    requests = [[(first, 1.0)], [], [(second, 0.7)], [(first, 0.5), (second, 0.5)]]
    alone = []
    for loras in requests:
        with applied(flux, loras):
            alone.append([velocity(flux) for _ in range(2)])
    interleaved: list[list[Tensor]] = [[] for _ in requests]
    for _ in range(2):
        for results, loras in zip(interleaved, requests, strict=True):
            with applied(flux, loras):
                results.append(velocity(flux))
    assert all(torch.equal(a, b) for x, y in zip(alone, interleaved, strict=True) for a, b in zip(x, y, strict=True))
    assert all(relative_error(run[0], alone[1][0]) > 0.1 for run in (alone[0], alone[2], alone[3]))


def test_an_error_takes_the_change_off_again(flux: Flux, tmp_path: Path) -> None:
    lora, _ = two_loras(flux, tmp_path)
    plain = velocity(flux)
    with pytest.raises(ZeroDivisionError), applied(flux, [(lora, 1.0)]):
        raise ZeroDivisionError
    assert torch.equal(velocity(flux), plain)


def test_quantized_weights_take_it_too(flux: Flux, tmp_path: Path) -> None:
    state = {name: t.to(torch.float8_e4m3fn) if t.ndim == 2 else t for name, t in flux.state_dict().items()}
    files = ScaledWeights(open_safetensors(write(tmp_path / "fp8.safetensors", state)))
    packed, converted = (
        build_transformer(Place(files), Target(torch.float32, keeps_packed=keeps)) for keeps in (True, False)
    )
    two_loras(flux, tmp_path)
    lora = load_lora(tmp_path / "a.safetensors", packed, torch.float32)
    with applied(packed, [(lora, 1.0)]), applied(converted, [(lora, 1.0)]):
        assert relative_error(velocity(packed), velocity(converted)) <= 1e-6


QKV = "double_blocks.0.img_attn.qkv"
DOWN, UP = torch.ones(RANK, 256), torch.ones(768, RANK)
FAULTS: dict[str, tuple[State, str]] = {
    "a layer of Stable Diffusion": (
        {"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": DOWN},
        "is not for this model: it changes 'lora_unet_down_blocks_0_attentions_0_proj_in'",
    ),
    "a text encoder": (
        {"lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": DOWN},
        "is not for this model",
    ),
    "a block beyond the last": ({"double_blocks.7.img_attn.qkv.lora_A.weight": DOWN}, "it changes 'double_blocks.7"),
    "other inputs": (
        {f"{QKV}.lora_A.weight": torch.ones(RANK, 255), f"{QKV}.lora_B.weight": UP},
        r"\[768, 255\] instead of \[768, 256\]",
    ),
    "other outputs": (
        {f"{QKV}.lora_A.weight": DOWN, f"{QKV}.lora_B.weight": torch.ones(256, RANK)},
        r"\[256, 256\] instead of \[768, 256\]",
    ),
    "other outputs of a part": (
        {
            "transformer.transformer_blocks.0.attn.to_q.lora_A.weight": DOWN,
            "transformer.transformer_blocks.0.attn.to_q.lora_B.weight": UP,
        },
        r"\[768, 256\] instead of \[256, 256\]",
    ),
    "two ranks": ({f"{QKV}.lora_A.weight": DOWN, f"{QKV}.lora_B.weight": torch.ones(768, 3)}, "do not fit together"),
    "no rank": (
        {f"{QKV}.lora_A.weight": torch.ones(0, 256), f"{QKV}.lora_B.weight": torch.ones(768, 0)},
        "do not fit together",
    ),
    "a half": ({f"{QKV}.lora_A.weight": DOWN}, "one of its two matrices is missing"),
    "integers": ({f"{QKV}.lora_A.weight": DOWN.char(), f"{QKV}.lora_B.weight": UP}, "in I8; only"),
    "twice": ({f"{QKV}.lora_A.weight": DOWN, f"transformer.{QKV}.lora_A.weight": DOWN}, "twice"),
    "an endless alpha": (
        {f"{QKV}.lora_A.weight": DOWN, f"{QKV}.lora_B.weight": UP, f"{QKV}.alpha": torch.tensor(float("inf"))},
        "not one finite number",
    ),
    "another method": ({f"{QKV}.dora_scale": UP}, "is not a LoRA that is understood"),
    "a dotted name": ({"a.__class__.__base__.lora_A.weight": DOWN}, "is not for this model"),
    "a norm": ({f"{QKV[:-4]}.norm.key_norm.scale": torch.ones(128)}, "is not a LoRA that is understood"),
    "nothing": ({}, "holds no tensors"),
}


@pytest.mark.parametrize(("state", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_what_is_not_for_this_model_is_refused(state: State, reason: str, flux: Flux, tmp_path: Path) -> None:
    path = write(tmp_path / "lora.safetensors", state)
    with pytest.raises(WeightsError, match=reason) as caught:
        load_lora(path, flux, torch.float32)
    assert str(path) in str(caught.value)
