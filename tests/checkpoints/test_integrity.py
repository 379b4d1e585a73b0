"""A model folder that is incomplete or damaged is found out from names, sizes and headers."""

import json
import pickle
from pathlib import Path

import pytest

from bildwerk.checkpoints.integrity import problems
from bildwerk.checkpoints.location import folder_of, how_to_get
from bildwerk.domain.catalog import load_catalog


def safetensors(data_bytes: int = 64) -> bytes:
    entry = {"dtype": "F32", "shape": [data_bytes // 4], "data_offsets": [0, data_bytes]}
    header = json.dumps({"__metadata__": {"made": "here"}, "weight": entry}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(data_bytes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    index = {
        "_class_name": "FluxPipeline",
        "transformer": ["diffusers", "FluxTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "image_encoder": [None, None],
    }
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    for name in ("transformer", "vae", "tokenizer"):
        (tmp_path / name).mkdir()
    for name in ("transformer", "vae"):
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "model.safetensors").write_bytes(safetensors())
    return tmp_path


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
    (folder / "tokenizer").rmdir()
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
    shards = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    (folder / "vae" / "model.safetensors").rename(folder / "vae" / "model-1.safetensors")
    (folder / "vae" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    assert problems(folder) == [f"{folder / 'vae' / 'model-2.safetensors'} is missing"]


def test_missing_weights_and_configuration_are_both_said(folder: Path) -> None:
    (folder / "vae" / "model.safetensors").unlink()
    (folder / "vae" / "config.json").unlink()
    assert problems(folder) == [
        f"{folder / 'vae' / 'config.json'} is missing",
        f"{folder / 'vae'} has no .safetensors file",
    ]


def test_an_embedded_model_lies_in_the_package_and_others_in_the_models_folder(tmp_path: Path) -> None:
    catalog = load_catalog()
    tiny, schnell = catalog["bildwerk/flux-tiny"], catalog["black-forest-labs/flux-schnell"]
    assert folder_of(tiny, tmp_path).parts[-3:] == ("bildwerk", "models", "flux-tiny")
    assert folder_of(schnell, tmp_path) == tmp_path / "black-forest-labs--flux-schnell"
    assert "black-forest-labs/FLUX.1-schnell" in how_to_get(schnell, tmp_path)


@pytest.fixture
def single_files(tmp_path: Path) -> Path:
    for name in ("tokenizer", "tokenizer_2"):
        (tmp_path / name).mkdir()
    (tmp_path / "flux1-schnell.safetensors").write_bytes(safetensors())
    (tmp_path / "t5-v1_1-xxl-encoder-Q8_0.gguf").write_bytes(b"GGUF")
    return tmp_path


def test_single_files_beside_the_tokenizers_have_no_problems(single_files: Path) -> None:
    assert problems(single_files) == []


def test_a_single_file_that_is_cut_off_is_named(single_files: Path) -> None:
    path = single_files / "flux1-schnell.safetensors"
    path.write_bytes(WEIGHTS[:-1])
    [sentence] = problems(single_files)
    assert sentence.startswith(f"{path} ")
    assert "cut off" in sentence


def test_single_files_need_the_tokenizers(single_files: Path) -> None:
    (single_files / "tokenizer_2").rmdir()
    assert problems(single_files) == [f"the folder {single_files / 'tokenizer_2'} is missing"]


def test_a_single_file_takes_the_place_of_a_components_folder(folder: Path) -> None:
    (folder / "transformer" / "model.safetensors").rename(folder / "flux1-schnell.safetensors")
    (folder / "transformer" / "config.json").unlink()
    (folder / "transformer").rmdir()
    assert problems(folder) == []


def test_a_single_file_that_is_not_needed_is_not_looked_at(folder: Path) -> None:
    (folder / "flux1-schnell.safetensors").write_bytes(b"")
    assert problems(folder) == []
