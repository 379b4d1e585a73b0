"""A model folder that is incomplete or damaged is found out from names, sizes and headers."""

import json
import pickle
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from bildwerk.checkpoints.integrity import problems
from bildwerk.checkpoints.location import folder_of, how_to_get
from bildwerk.domain.catalog import load_catalog


def safetensors(data_bytes: int = 64, name: str = "weight") -> bytes:
    entry = {"dtype": "F32", "shape": [data_bytes // 4], "data_offsets": [0, data_bytes]}
    header = json.dumps({"__metadata__": {"made": "here"}, name: entry}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(data_bytes)


TRANSFORMER_KEY, VAE_KEY, CLIP_KEY = "img_in.weight", "decoder.conv_in.weight", "text_model.final_layer_norm.weight"
T5_KEY = "enc.output_norm.weight"


def gguf(name: str) -> bytes:
    """One tensor of eight float32."""
    counts = struct.pack("<4sIQQ", b"GGUF", 3, 1, 0)
    tensor = struct.pack("<Q", len(name)) + name.encode() + struct.pack("<IQIQ", 1, 8, 0, 0)
    header = counts + tensor
    return header + bytes(-len(header) % 32) + bytes(32)


MODULES = ("text_encoder", "text_encoder_2", "transformer", "vae")
TOKENIZERS = ("tokenizer", "tokenizer_2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As a download of FLUX.1 looks, with one small tensor in each file of weights."""
    folder = tmp_path / "model"
    for name in (*MODULES, *TOKENIZERS, "scheduler"):
        (folder / name).mkdir(parents=True)
    named = {name: ["library", "Class"] for name in (*MODULES, *TOKENIZERS, "scheduler")}
    index = {"_class_name": "FluxPipeline", **named, "image_encoder": [None, None]}
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    for name in MODULES:
        (folder / name / "config.json").write_text("{}")
        (folder / name / "model.safetensors").write_bytes(safetensors())
    for name in TOKENIZERS:
        (folder / name / "tokenizer_config.json").write_text("{}")
        (folder / name / "tokenizer.json").write_text("{}")
    return folder


def test_a_complete_folder_has_no_problems(folder: Path) -> None:
    assert problems(folder) == []


def test_a_folder_that_is_not_there_is_one(tmp_path: Path) -> None:
    assert problems(tmp_path / "gone") == [f"the folder {tmp_path / 'gone'} does not exist"]


def test_a_folder_without_an_index_is_incomplete(tmp_path: Path) -> None:
    assert problems(tmp_path) == [f"{tmp_path / 'model_index.json'} is missing or cannot be reached"]


def test_an_index_that_is_not_json_is_named(folder: Path) -> None:
    (folder / "model_index.json").write_text("<html>")
    [sentence] = problems(folder)
    assert sentence.startswith(f"{folder / 'model_index.json'} is not valid JSON")


def test_a_missing_component_is_named(folder: Path) -> None:
    shutil.rmtree(folder / "tokenizer")
    assert problems(folder) == [f"the folder {folder / 'tokenizer'} is missing"]


WEIGHTS = safetensors(1_000)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (WEIGHTS[:-1], "is cut off or padded"),
        (WEIGHTS[:20], "is cut off or not a safetensors file"),
        (WEIGHTS[:3], "it has only 3 bytes"),
        (WEIGHTS + b"more", "is cut off or padded"),
        (pickle.dumps({"weight": bytes(1_000)}, 2), "can run code when it is loaded"),
        (pickle.dumps({"weight": bytes(1_000)}, 4), "can run code when it is loaded"),
        (b"PK\x03\x04" + bytes(1_000), "can run code when it is loaded"),
        (b"<html>" + bytes(1_000), "a web page"),
    ],
)
def test_a_damaged_or_foreign_file_is_named(folder: Path, content: bytes, says: str) -> None:
    path = folder / "vae" / "model.safetensors"
    path.write_bytes(content)
    [sentence] = problems(folder)
    assert sentence.startswith(f"{path} ")
    assert says in sentence


def test_a_shard_that_the_index_names_must_be_there(folder: Path) -> None:
    shards = {"weight": "model-1.safetensors", "b": "model-2.safetensors"}
    (folder / "vae" / "model.safetensors").rename(folder / "vae" / "model-1.safetensors")
    (folder / "vae" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    assert problems(folder) == [f"{folder / 'vae' / 'model-2.safetensors'} is missing or cannot be reached"]


def test_missing_weights_and_configuration_are_both_said(folder: Path) -> None:
    (folder / "vae" / "model.safetensors").unlink()
    (folder / "vae" / "config.json").unlink()
    no_config, no_weights = problems(folder)
    assert no_config == f"{folder / 'vae' / 'config.json'} is missing or cannot be reached"
    assert no_weights.startswith(f"{folder / 'vae'} holds no weights")


NEEDED = [
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder_2/config.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer_2/tokenizer.json",
    "tokenizer_2/tokenizer_config.json",
]


@pytest.mark.parametrize("name", NEEDED)
def test_whatever_the_loader_reads_must_be_there(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert problems(folder) == [f"{folder / name} is missing or cannot be reached"]


def test_clip_may_have_its_vocabulary_in_two_files(folder: Path) -> None:
    (folder / "tokenizer" / "tokenizer.json").rename(folder / "tokenizer" / "vocab.json")
    assert problems(folder) == [f"{folder / 'tokenizer' / 'merges.txt'} is missing or cannot be reached"]
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2")
    assert problems(folder) == []


def test_an_index_must_name_every_component(folder: Path) -> None:
    (folder / "model_index.json").write_text("{}")
    index = folder / "model_index.json"
    found = problems(folder)
    assert len(found) == 7
    assert f"{index} does not name the component text_encoder_2" in found


def test_weights_under_another_name_are_not_found(folder: Path) -> None:
    (folder / "vae" / "model.safetensors").rename(folder / "vae" / "foo.safetensors")
    [sentence] = problems(folder)
    assert sentence.startswith(f"{folder / 'vae'} holds no weights")


def test_weights_that_lie_elsewhere_are_refused(folder: Path, tmp_path: Path) -> None:
    path = folder / "vae" / "model.safetensors"
    path.rename(tmp_path / "elsewhere.safetensors")
    path.symlink_to(tmp_path / "elsewhere.safetensors")
    [sentence] = problems(folder)
    assert sentence.startswith(f"{path} is a link that leads out of its folder")


@pytest.mark.parametrize("weight_map", [[], {}, None, {"weight": 3}, {"weight": "../model.safetensors"}])
def test_an_index_of_shards_that_makes_no_sense_is_named(folder: Path, weight_map: object) -> None:
    (folder / "vae" / "model.safetensors").unlink()
    index = folder / "vae" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    [sentence] = problems(folder)
    assert sentence.startswith(f"{index} ")


def test_a_folder_whose_name_is_too_long_is_explained(tmp_path: Path) -> None:
    [sentence] = problems(tmp_path / ("x" * 300))
    assert "File name too long" in sentence


def test_it_needs_no_torch() -> None:
    code = "import sys, bildwerk.checkpoints.integrity; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_embedded_model_lies_in_the_package_and_others_in_the_models_folder(tmp_path: Path) -> None:
    catalog = load_catalog()
    tiny, schnell = catalog["bildwerk/flux-tiny"], catalog["black-forest-labs/flux-schnell"]
    assert folder_of(tiny, tmp_path).parts[-3:] == ("bildwerk", "models", "flux-tiny")
    assert folder_of(schnell, tmp_path) == tmp_path / "black-forest-labs--flux-schnell"
    assert how_to_get(schnell) == "fetch it with: bildwerk models pull flux-schnell"


@pytest.fixture
def single_files(folder: Path) -> Path:
    for name in (*MODULES, "scheduler"):
        shutil.rmtree(folder / name)
    (folder / "model_index.json").unlink()
    (folder / "ae.safetensors").write_bytes(safetensors(name=VAE_KEY))
    (folder / "clip_l.sft").write_bytes(safetensors(name=CLIP_KEY))
    (folder / "flux1-schnell.safetensors").write_bytes(safetensors(name=TRANSFORMER_KEY))
    (folder / "t5-v1_1-xxl-encoder-Q8_0.gguf").write_bytes(gguf(T5_KEY))
    return folder


def test_single_files_beside_the_tokenizers_have_no_problems(single_files: Path) -> None:
    assert problems(single_files) == []


def test_a_single_file_that_is_cut_off_is_named(single_files: Path) -> None:
    path = single_files / "flux1-schnell.safetensors"
    path.write_bytes(safetensors()[:-1])
    [sentence] = problems(single_files)
    assert sentence.startswith(f"{path} ")
    assert "cut off" in sentence


def test_single_files_need_the_tokenizers(single_files: Path) -> None:
    shutil.rmtree(single_files / "tokenizer_2")
    assert problems(single_files) == [f"the folder {single_files / 'tokenizer_2'} is missing"]


def test_a_single_file_takes_the_place_of_a_components_folder(folder: Path) -> None:
    shutil.rmtree(folder / "transformer")
    (folder / "flux1-schnell.safetensors").write_bytes(safetensors(name=TRANSFORMER_KEY))
    assert problems(folder) == []


def test_folders_without_an_index_say_which_one_is_missing(folder: Path) -> None:
    (folder / "model_index.json").unlink()
    assert problems(folder) == []
    shutil.rmtree(folder / "transformer")
    [sentence] = problems(folder)
    assert sentence.startswith(f"the folder {folder / 'transformer'} is missing, and no single file")


def test_a_component_that_no_single_file_holds_is_named(single_files: Path) -> None:
    (single_files / "t5-v1_1-xxl-encoder-Q8_0.gguf").unlink()
    [sentence] = problems(single_files)
    assert sentence.startswith(f"the folder {single_files / 'text_encoder_2'} is missing, and no single file")


def test_a_component_that_two_single_files_hold_is_named(single_files: Path) -> None:
    (single_files / "flux1-schnell-Q4_0.gguf").write_bytes(gguf(TRANSFORMER_KEY))
    [sentence] = problems(single_files)
    assert "holds the transformer twice: in flux1-schnell-Q4_0.gguf and flux1-schnell.safetensors" in sentence


def test_a_damaged_gguf_file_is_named(single_files: Path) -> None:
    (single_files / "t5-v1_1-xxl-encoder-Q8_0.gguf").write_bytes(gguf(T5_KEY)[:-1])
    [sentence] = problems(single_files)
    assert "t5-v1_1-xxl-encoder-Q8_0.gguf describes" in sentence


@pytest.mark.parametrize("content", ["[]", "{}", '{"version": 2, "files": {}}', '{"version": 1, "files": {"a": {}}}'])
def test_a_damaged_list_of_hashes_is_named(folder: Path, content: str) -> None:
    (folder / "bildwerk-files.json").write_text(content)
    [sentence] = problems(folder)
    assert sentence.startswith(f"{folder / 'bildwerk-files.json'} is damaged")


def test_a_single_file_that_is_not_needed_is_not_looked_at(folder: Path) -> None:
    (folder / "flux1-schnell.safetensors").write_bytes(b"")
    assert problems(folder) == []
