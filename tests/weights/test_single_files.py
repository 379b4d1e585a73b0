"""Models published as single files, in the originals' layout and in ComfyUI's, load as those of diffusers do."""

import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers

from bildwerk.flux.params import ScheduleParams, TransformerParams
from bildwerk.flux.transformer import Flux
from bildwerk.weights.errors import MismatchedKeysError, WeightsError
from bildwerk.weights.layouts import transformer_layouts
from bildwerk.weights.load import Components, build_transformer, load_components
from bildwerk.weights.measured_params import (
    measure_autoencoder,
    measure_clip,
    measure_t5,
    measure_transformer,
)
from bildwerk.weights.places import Place
from bildwerk.weights.read_safetensors import open_safetensors
from bildwerk.weights.sections import sections
from bildwerk.weights.signatures import Component
from tests.parity.references import (
    reference_clip,
    reference_t5,
    reference_transformer,
    relative_error,
    twin_transformer,
)
from tests.weights import published
from tests.weights.published import Model, State, all_in_one, prefixed, save_tokenizers, velocity, write
from tests.weights.real_keys import real_keys

FP32_BAR = 1e-6


@pytest.fixture(scope="module")
def model() -> Model:
    return published.model()


@pytest.fixture(scope="module")
def states(model: Model) -> dict[str, State]:
    return model.states()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_tokenizers(tmp_path)
    return tmp_path


def published_files(folder: Path, states: dict[str, State]) -> None:
    write(folder / "flux1-schnell.safetensors", states["transformer"])
    write(folder / "ae.safetensors", states["vae"])


def text_encoder_files(folder: Path, states: dict[str, State]) -> None:
    """With the keys that such files have beside the weights."""
    clip_extras = {"text_model.embeddings.position_ids": torch.arange(77)[None], "logit_scale": torch.tensor(4.6)}
    write(folder / "clip_l.safetensors", states["clip"] | clip_extras | {"text_projection.weight": torch.ones(64, 64)})
    write(folder / "t5xxl_fp16.safetensors", states["t5"] | {"encoder.embed_tokens.weight": torch.zeros(128, 64)})


def original_beside_hugging_face(folder: Path, states: dict[str, State]) -> None:
    published_files(folder, states)
    reference_clip(published.CLIP).save_pretrained(folder / "text_encoder")
    reference_t5(published.T5).save_pretrained(folder / "text_encoder_2")


def comfy_files(folder: Path, states: dict[str, State]) -> None:
    published_files(folder, states)
    text_encoder_files(folder, states)


def comfy_files_with_prefix(folder: Path, states: dict[str, State]) -> None:
    write(folder / "finetune.safetensors", prefixed("model.diffusion_model.", states["transformer"]))
    write(folder / "ae.sft", states["vae"])
    text_encoder_files(folder, states)


def one_checkpoint(folder: Path, states: dict[str, State]) -> None:
    beside = {"text_encoders.clip_l.logit_scale": torch.tensor(4.6)}
    projection = {"text_encoders.clip_l.transformer.text_projection.weight": torch.ones(64, 64)}
    write(folder / "all.safetensors", all_in_one(states) | beside | projection)


def diffusers_transformer_alone(folder: Path, states: dict[str, State]) -> None:
    exported = transformer_layouts(published.TRANSFORMER)[0].export(states["transformer"])
    write(folder / "diffusion_pytorch_model.safetensors", exported)
    write(folder / "ae.safetensors", states["vae"])
    text_encoder_files(folder, states)


LAYOUTS = [
    original_beside_hugging_face,
    comfy_files,
    comfy_files_with_prefix,
    one_checkpoint,
    diffusers_transformer_alone,
]


@pytest.mark.parametrize("lay_out", LAYOUTS, ids=lambda lay_out: lay_out.__name__)
def test_every_layout_gives_the_same_model(
    lay_out: Callable[[Path, dict[str, State]], None], folder: Path, model: Model, states: dict[str, State]
) -> None:
    lay_out(folder, states)
    loaded = load_components(folder, torch.float32)
    assert relative_error(velocity(loaded.transformer), velocity(model.transformer)) <= FP32_BAR
    assert_same_networks(loaded, model)
    assert loaded.schedule == ScheduleParams()


def assert_same_networks(loaded: Components, model: Model) -> None:
    ids = torch.tensor([[3, 17, 40, 5]])
    latents = torch.randn(1, 16, 4, 6, generator=torch.Generator().manual_seed(4))
    assert relative_error(loaded.t5(ids), model.t5(ids)) <= FP32_BAR
    assert relative_error(loaded.clip(ids), model.clip(ids)) <= FP32_BAR
    assert relative_error(loaded.autoencoder.decode(latents), model.vae.decode(latents)) <= FP32_BAR


VARIANTS = {
    "guidance": replace(published.TRANSFORMER, guidance_embed=True),
    "wider": replace(published.TRANSFORMER, hidden_size=384, num_heads=3),
    "other depths": replace(published.TRANSFORMER, depth=1, depth_single_blocks=3),
    "other inputs": replace(published.TRANSFORMER, in_channels=384, out_channels=384, context_in_dim=48, vec_in_dim=32),
}


@pytest.mark.parametrize("params", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_transformer_is_loaded_by_its_own_numbers(params: TransformerParams, tmp_path: Path) -> None:
    expected = twin_transformer(reference_transformer(params), params)
    path = write(tmp_path / "renamed-schnell.safetensors", expected.state_dict())
    files = sections(open_safetensors(path))[Component.TRANSFORMER]
    assert measure_transformer(files) == params
    loaded = build_transformer(Place(files), published.AS_FLOAT32)
    assert relative_error(velocity(loaded), velocity(expected)) <= FP32_BAR


class Listed:
    """The real files' tensors, of which only names and shapes are known."""

    path = Path("published")

    def __init__(self, component: str) -> None:
        self.component = component

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return real_keys(self.component)

    def dtypes(self) -> dict[str, str]:
        return dict.fromkeys(self.shapes(), "BF16")

    def load(self, names: object) -> dict[str, torch.Tensor]:
        raise NotImplementedError


def test_the_real_files_measure_as_flux_schnell() -> None:
    assert measure_transformer(Listed("transformer")) == TransformerParams()
    assert measure_autoencoder(Listed("vae")) == published.AutoencoderParams()
    assert measure_t5(Listed("text_encoder_2")) == published.T5Params()
    assert measure_clip(Listed("text_encoder")) == published.ClipParams()
    assert [list(sections(Listed(component))) for component in Component] == [[component] for component in Component]


def test_the_table_for_diffusers_is_that_of_its_own_converter() -> None:
    """At the real shapes; without memory, so names and shapes alone."""
    with torch.device("meta"):
        state = Flux(TransformerParams()).state_dict()
    theirs = convert_flux_transformer_checkpoint_to_diffusers(dict(state))
    ours = transformer_layouts(TransformerParams())[0].export(state)
    assert {name: tensor.shape for name, tensor in ours.items()} == {name: t.shape for name, t in theirs.items()}
    assert {name: tuple(tensor.shape) for name, tensor in ours.items()} == real_keys("transformer")


def test_rows_go_where_the_converter_of_diffusers_puts_them() -> None:
    """It splits rows at the real width, so the tensors are tall and one column wide, each number in them unlike."""
    params = replace(TransformerParams(), depth=2, depth_single_blocks=2)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in Flux(params).state_dict().items()}
    numbers = torch.arange(2**22, dtype=torch.float32)
    state = {name: numbers[index : index + shape[0]] for index, (name, shape) in enumerate(shapes.items())}
    theirs = convert_flux_transformer_checkpoint_to_diffusers(dict(state))
    ours = transformer_layouts(params)[0].export(state)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_schedule_of_a_model_with_guidance_moves_with_the_size(folder: Path, states: dict[str, State]) -> None:
    params = VARIANTS["guidance"]
    guided = twin_transformer(reference_transformer(params), params).state_dict()
    one_checkpoint(folder, states | {"transformer": guided})
    assert load_components(folder, torch.float32).schedule == ScheduleParams(dynamic=True)


def test_an_unexpected_tensor_beside_the_sections_is_refused(folder: Path, states: dict[str, State]) -> None:
    write(folder / "all.safetensors", all_in_one(states) | {"cond_stage_model.a": torch.ones(1)})
    with pytest.raises(MismatchedKeysError, match=r"1 unexpected: 'cond_stage_model\.a'"):
        load_components(folder, torch.float32)


@pytest.mark.parametrize("name", ["a.__class__.__base__", "double_blocks.0.__init__.weight", "img_in.weight.data"])
def test_names_that_are_none_of_ours_are_refused(name: str, folder: Path, states: dict[str, State]) -> None:
    comfy_files(folder, states | {"transformer": states["transformer"] | {name: torch.ones(1)}})
    with pytest.raises(MismatchedKeysError, match="1 unexpected"):
        load_components(folder, torch.float32)


def test_two_files_of_one_component_are_refused(folder: Path, states: dict[str, State]) -> None:
    comfy_files(folder, states)
    write(folder / "another.safetensors", states["transformer"])
    with pytest.raises(WeightsError, match=r"transformer twice: in \S+another\.safetensors and \S+flux1-schnell"):
        load_components(folder, torch.float32)


def test_files_of_something_else_are_passed_over(folder: Path, states: dict[str, State]) -> None:
    comfy_files(folder, states)
    write(folder / "upscaler.safetensors", {"body.0.weight": torch.ones(1)})
    assert load_components(folder, torch.float32).transformer.params == published.TRANSFORMER


def test_heads_of_an_unknown_dimension_are_refused(tmp_path: Path) -> None:
    params = replace(published.TRANSFORMER, num_heads=4, axes_dim=(16, 24, 24))
    path = write(tmp_path / "x.safetensors", twin_transformer(reference_transformer(params), params).state_dict())
    with pytest.raises(WeightsError, match="heads of dimension 64"):
        measure_transformer(open_safetensors(path))


def test_latents_of_an_unknown_kind_are_refused(tmp_path: Path, states: dict[str, State]) -> None:
    state = states["vae"] | {"decoder.conv_in.weight": torch.ones(64, 4, 3, 3)}
    with pytest.raises(WeightsError, match="4 latent channels"):
        measure_autoencoder(open_safetensors(write(tmp_path / "x.safetensors", state)))


def test_missing_tokenizers_are_named(tmp_path: Path, states: dict[str, State]) -> None:
    one_checkpoint(tmp_path, states)
    with pytest.raises(WeightsError, match=r"/tokenizer/tokenizer_config\.json is missing"):
        load_components(tmp_path, torch.float32)


class Malicious:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("ran"),))


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Malicious()))


@pytest.mark.parametrize("name", ["flux1-schnell.safetensors", "flux1-schnell.SAFETENSORS", "flux.sft"])
def test_a_pickle_in_a_zip_is_refused_whatever_it_is_called(name: str, folder: Path, states: dict[str, State]) -> None:
    comfy_files(folder, states)
    (folder / "flux1-schnell.safetensors").unlink()
    zipped(folder / name)
    with pytest.raises(WeightsError, match=r"a zip archive, as torch\.save writes it; such a file can run code"):
        load_components(folder, torch.float32)


@pytest.mark.parametrize("suffix", ["ckpt", "pt", "pth", "bin", "pkl", "CKPT"])
def test_a_checkpoint_that_can_run_code_is_refused(suffix: str, folder: Path, states: dict[str, State]) -> None:
    comfy_files(folder, states)
    (folder / "flux1-schnell.safetensors").unlink()
    zipped(folder / f"flux1-schnell.{suffix}")
    with pytest.raises(WeightsError, match="can run code when it is loaded"):
        load_components(folder, torch.float32)


def test_links_and_devices_are_refused(folder: Path, states: dict[str, State]) -> None:
    comfy_files(folder, states)
    (folder / "zero.safetensors").symlink_to("/dev/zero")
    with pytest.raises(WeightsError, match="not a regular file"):
        load_components(folder, torch.float32)
