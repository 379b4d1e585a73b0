"""Of a repository what the loader reads, and nothing that can run code."""

import pytest

from bildwerk.checkpoints.errors import CheckpointError
from bildwerk.checkpoints.listing import Listing, RemoteFile
from bildwerk.checkpoints.selection import select_files, select_folders
from tests.checkpoints.conftest import NEEDED, model_files


def listing(*paths: str) -> Listing:
    return Listing("painters/lake", "0" * 40, {path: RemoteFile(path, 1, None, "0" * 40) for path in paths})


WHOLE = listing(*model_files())


def without(*paths: str) -> Listing:
    return listing(*(path for path in model_files() if path not in paths))


def test_the_folders_are_taken_without_single_files_pickles_and_variants() -> None:
    assert select_folders(WHOLE).keys() == NEEDED


def test_shards_come_with_their_index() -> None:
    shards = [f"transformer/diffusion_pytorch_model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    index = "transformer/diffusion_pytorch_model.safetensors.index.json"
    files = without("transformer/diffusion_pytorch_model.safetensors").files
    found = select_folders(listing(*files, *shards, index, "transformer/other-00001-of-00002.safetensors"))
    assert {path for path in found if path.startswith("transformer/")} == {"transformer/config.json", index, *shards}


def test_one_folder_can_be_taken_alone() -> None:
    assert select_folders(WHOLE, ["vae"]).keys() == {path for path in NEEDED if path.startswith("vae/")}


@pytest.mark.parametrize(
    "lacking", ["model_index.json", "vae/config.json", "tokenizer/vocab.json", "text_encoder/model.safetensors"]
)
def test_a_repository_that_lacks_something_says_what_it_has(lacking: str) -> None:
    with pytest.raises(CheckpointError, match=r"layout of diffusers: its files of weights are flux1-lake\.safetensors"):
        select_folders(without(lacking))


def test_a_single_file_goes_to_the_top_and_a_components_file_to_its_folder() -> None:
    found = select_files(listing("fp8/flux1-fp8.safetensors", "vae/config.json"), ["fp8/*", "vae/*"])
    assert {target: file.path for target, file in found.items()} == {
        "flux1-fp8.safetensors": "fp8/flux1-fp8.safetensors",
        "vae/config.json": "vae/config.json",
    }


@pytest.mark.parametrize("pattern", ["lake.ckpt", "*.ckpt", "text_encoder/*", "*.bin"])
def test_a_pickle_is_not_fetched_even_if_asked_for(pattern: str) -> None:
    with pytest.raises(CheckpointError, match=r"can run code when it is loaded \(unsafe_format\)"):
        select_files(WHOLE, [pattern])


def test_what_no_model_is_loaded_from_is_not_fetched() -> None:
    with pytest.raises(CheckpointError, match=r"README\.md of painters/lake is nothing that a model is loaded from"):
        select_files(WHOLE, ["README.md"])


def test_two_files_of_one_name_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"would both become flux1\.gguf"):
        select_files(listing("a/flux1.gguf", "b/flux1.gguf"), ["*"])


def test_a_name_that_is_not_there_is_said_with_those_that_are() -> None:
    with pytest.raises(CheckpointError, match=r"has no file 'flux1\.gguf'; its files of weights are "):
        select_files(WHOLE, ["flux1.gguf"])
