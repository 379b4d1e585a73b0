"""A folder saved by diffusers becomes our components, and every fault in it is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bildwerk.flux.params import ScheduleParams
from bildwerk.weights.errors import MismatchedKeysError, WeightsError
from bildwerk.weights.layouts import transformer_layouts
from bildwerk.weights.load import load_clip, load_components, load_t5, load_transformer
from tests.parity.references import AUTOENCODER, TRANSFORMER
from tests.parity.tiny_pipeline import tiny_pipeline


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    tiny_pipeline().to(torch.bfloat16).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def change_tensors(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, path)


def change_settings(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def rename(tensors: dict[str, Tensor], old: str, new: str) -> None:
    tensors[new] = tensors.pop(old)


def transformer_file(folder: Path) -> Path:
    return folder / "transformer/diffusion_pytorch_model.safetensors"


def test_a_saved_pipeline_is_loaded(saved: Path) -> None:
    components = load_components(saved, torch.bfloat16)
    assert components.transformer.params == TRANSFORMER
    assert components.autoencoder.params == AUTOENCODER
    assert components.schedule == ScheduleParams()
    assert components.max_clip_tokens == 77
    for module in (components.transformer, components.autoencoder, components.t5, components.clip):
        assert not module.training
        assert all(p.dtype == torch.bfloat16 and not p.requires_grad for p in module.parameters())


def test_weights_are_converted_where_another_dtype_is_asked_for(saved: Path) -> None:
    assert load_transformer(saved / "transformer", torch.float32).img_in.weight.dtype == torch.float32


def is_mapped(tensor: Tensor, path: Path) -> bool:
    spans = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(str(path))]
    bounds = [[int(bound, 16) for bound in span[0].split("-")] for span in spans]
    return any(begin <= tensor.data_ptr() < end for begin, end in bounds)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not list its mappings")
def test_weights_of_the_files_own_dtype_stay_mapped(saved: Path) -> None:
    path = transformer_file(saved)
    assert is_mapped(load_transformer(saved / "transformer", torch.bfloat16).img_in.weight, path)
    assert not is_mapped(load_transformer(saved / "transformer", torch.float32).img_in.weight, path)


def test_missing_unexpected_and_misshapen_tensors_are_listed(folder: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        rename(tensors, "transformer_blocks.1.attn.to_k.bias", "transformer_blocks.1.attn.to_kk.bias")
        tensors["single_transformer_blocks.0.proj_mlp.weight"] = torch.zeros(7, 96)

    change_tensors(transformer_file(folder), change)
    with pytest.raises(MismatchedKeysError) as caught:
        load_transformer(folder / "transformer", torch.float32)
    assert caught.value.missing == ("transformer_blocks.1.attn.to_k.bias",)
    assert caught.value.unexpected == ("'transformer_blocks.1.attn.to_kk.bias'",)
    assert caught.value.misshapen == ("single_transformer_blocks.0.proj_mlp.weight [7, 96] instead of [384, 96]",)
    assert "1 missing: transformer_blocks.1.attn.to_k.bias; 1 unexpected:" in str(caught.value)


SINGLE_FAULTS = {
    "missing": lambda tensors: tensors.pop("x_embedder.bias"),
    "unexpected": lambda tensors: tensors.update(additional=torch.ones(1)),
    "misshapen": lambda tensors: tensors.update({"x_embedder.bias": torch.ones(95)}),
}


@pytest.mark.parametrize("kind", SINGLE_FAULTS)
def test_each_kind_of_fault_alone_is_refused(kind: str, folder: Path) -> None:
    change_tensors(transformer_file(folder), SINGLE_FAULTS[kind])
    with pytest.raises(MismatchedKeysError, match=f"1 {kind}"):
        load_transformer(folder / "transformer", torch.float32)


def test_a_long_list_of_faults_is_cut(folder: Path) -> None:
    change_tensors(transformer_file(folder), lambda tensors: tensors.clear() or tensors.update(a=torch.ones(1)))
    with pytest.raises(MismatchedKeysError, match=r"and \d+ more") as caught:
        load_transformer(folder / "transformer", torch.float32)
    assert len(str(caught.value)) < 1500


def test_weights_that_are_integers_are_refused(folder: Path) -> None:
    change_tensors(transformer_file(folder), lambda tensors: tensors.update({"x_embedder.bias": torch.ones(96).char()}))
    with pytest.raises(WeightsError, match=r"'x_embedder\.bias' in I8 without a scale"):
        load_transformer(folder / "transformer", torch.float32)


def test_a_transformer_in_the_original_layout_is_loaded(folder: Path) -> None:
    expected = load_transformer(folder / "transformer", torch.float32)
    state = transformer_layouts(TRANSFORMER)[1].export(expected.state_dict())
    save_file(state, transformer_file(folder))
    loaded = load_transformer(folder / "transformer", torch.float32)
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.state_dict().items())


SHARED, EMBED_TOKENS = "shared.weight", "encoder.embed_tokens.weight"


@pytest.mark.parametrize("names", [{SHARED}, {EMBED_TOKENS}, {SHARED, EMBED_TOKENS}], ids=str)
def test_t5_is_loaded_by_any_name_of_its_embedding(names: set[str], folder: Path) -> None:
    expected = load_t5(folder / "text_encoder_2", torch.float32).shared.weight.clone()

    def change(tensors: dict[str, Tensor]) -> None:
        embedding = tensors.pop(SHARED)
        tensors.update({name: embedding.clone() for name in names})

    change_tensors(folder / "text_encoder_2/model.safetensors", change)
    assert torch.equal(load_t5(folder / "text_encoder_2", torch.float32).shared.weight, expected)


@pytest.mark.parametrize("prefix", ["", "text_model."])
@pytest.mark.parametrize("extra", [(), ("embeddings.position_ids",)], ids=["", "with position ids"])
def test_clip_is_loaded_with_and_without_prefix(prefix: str, extra: tuple[str, ...], folder: Path) -> None:
    expected = load_clip(folder / "text_encoder", torch.float32)

    def change(tensors: dict[str, Tensor]) -> None:
        plain = {name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}
        plain |= {name: torch.arange(77)[None] for name in extra}
        tensors.clear()
        tensors.update({prefix + name: tensor for name, tensor in plain.items()})

    change_tensors(folder / "text_encoder/model.safetensors", change)
    loaded = load_clip(folder / "text_encoder", torch.float32)
    assert all(torch.equal(tensor, expected.state_dict()[name]) for name, tensor in loaded.state_dict().items())


def test_sharded_weights_are_loaded(folder: Path) -> None:
    expected = load_transformer(folder / "transformer", torch.float32).state_dict()
    tensors = load_file(transformer_file(folder))
    transformer_file(folder).unlink()
    names = sorted(tensors)
    halves = {"one.safetensors": names[::2], "two.safetensors": names[1::2]}
    for shard, held in halves.items():
        save_file({name: tensors[name] for name in held}, folder / "transformer" / shard)
    homes = {name: shard for shard, held in halves.items() for name in held}
    index = folder / "transformer/diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": homes}))
    loaded = load_transformer(folder / "transformer", torch.float32).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.items())


CONFIG_FAULTS = [
    ("transformer/config.json", {"num_layers": 10**9}, "num_layers is 1000000000, but must be a whole number"),
    ("transformer/config.json", {"num_layers": True}, "num_layers is True"),
    ("transformer/config.json", {"num_attention_heads": "3"}, "num_attention_heads is '3'"),
    ("transformer/config.json", {"patch_size": 2}, "patch_size is 2, but must be 1, the only value implemented"),
    ("transformer/config.json", {"axes_dims_rope": [8, 8]}, "must be three numbers"),
    ("transformer/config.json", {"axes_dims_rope": [8, 8, 8]}, "must add up to the head dimension"),
    ("transformer/config.json", {"axes_dims_rope": [9, 11, 12]}, "must be even"),
    ("transformer/config.json", {"guidance_embeds": 1}, "must be true or false"),
    ("vae/config.json", {"block_out_channels": []}, "a list of numbers"),
    ("vae/config.json", {"norm_num_groups": 5}, "must be multiples of norm_groups 5"),
    ("vae/config.json", {"use_quant_conv": True}, "must be False"),
    ("vae/config.json", {"scaling_factor": float("nan")}, "a finite number"),
    ("vae/config.json", {"scaling_factor": 0}, "scale_factor must not be 0"),
    ("text_encoder/config.json", {"hidden_act": "relu"}, "'quick_gelu' or 'gelu'"),
    ("text_encoder/config.json", {"num_attention_heads": 5}, "not a multiple of num_attention_heads 5"),
    ("text_encoder_2/config.json", {"feed_forward_proj": "relu"}, "must be 'gated-gelu'"),
    ("text_encoder_2/config.json", {"relative_attention_num_buckets": 2}, "must be at least 4"),
    ("scheduler/scheduler_config.json", {"use_karras_sigmas": True}, "use_karras_sigmas is True"),
    ("scheduler/scheduler_config.json", {"shift": 0}, "must be positive"),
    ("scheduler/scheduler_config.json", {"max_image_seq_len": 256}, "must be more than base_image_tokens 256"),
    ("tokenizer/tokenizer_config.json", {"pad_token": "<|nothing|>"}, "not in the tokenizer's vocabulary"),
    ("tokenizer/tokenizer_config.json", {"pad_token": 5}, "pad_token is 5, but must be a text"),
    ("tokenizer/tokenizer_config.json", {"model_max_length": -1}, "at least 2"),
]


@pytest.mark.parametrize(("file", "settings", "reason"), CONFIG_FAULTS)
def test_a_setting_that_cannot_be_honored_is_refused(
    file: str, settings: dict[str, Any], reason: str, folder: Path
) -> None:
    change_settings(folder / file, **settings)
    with pytest.raises(WeightsError, match=reason) as caught:
        load_components(folder, torch.bfloat16)
    assert str(folder / file).rpartition("/")[0] in str(caught.value)


def test_settings_that_nobody_asks_for_are_ignored(folder: Path) -> None:
    change_settings(folder / "transformer/config.json", auto_map={"AutoModel": "evil.Model"}, _class_name="os.system")
    assert load_transformer(folder / "transformer", torch.bfloat16).params == TRANSFORMER


BROKEN_FILES = [
    ("transformer/config.json", b"{", "not valid JSON"),
    ("transformer/config.json", b"[]", "no JSON object"),
    ("transformer/config.json", b"\xff\xfe", "not UTF-8"),
    ("transformer/config.json", b" " * (2**20 + 1), "larger than"),
    ("tokenizer/tokenizer.json", b"{}", "not a tokenizer.json"),
    ("tokenizer_2/tokenizer.json", b"[[[[", "not a tokenizer.json"),
]


@pytest.mark.parametrize(("file", "content", "reason"), BROKEN_FILES)
def test_a_broken_file_is_refused(file: str, content: bytes, reason: str, folder: Path) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(WeightsError, match=reason):
        load_components(folder, torch.bfloat16)


COMPONENTS = ["transformer", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler"]


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_missing_component_is_named(component: str, folder: Path) -> None:
    shutil.rmtree(folder / component)
    with pytest.raises(WeightsError, match=rf"/{component}/\S+ is missing"):
        load_components(folder, torch.bfloat16)
