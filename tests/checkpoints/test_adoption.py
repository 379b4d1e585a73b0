"""Files that are here already become a model's; what could run code or is no file is refused, and nothing is lost."""

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from bildwerk.checkpoints.adoption import Adopted, adopt
from bildwerk.checkpoints.errors import CheckpointError
from bildwerk.checkpoints.integrity import problems
from bildwerk.checkpoints.manifest import read_manifest
from bildwerk.checkpoints.placing import Manner
from bildwerk.checkpoints.wanted import Transfer
from tests.checkpoints.conftest import NEEDED, TRANSFORMER, model_files
from tests.checkpoints.test_integrity import TRANSFORMER_KEY, gguf, safetensors
from tests.hub_server import folder_content


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "downloads" / "lake", model_files())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models" / "lake"


def adopted(path: Path, folder: Path, **options: Any) -> Adopted:
    *_, last = adopt(path, folder, **options)
    assert isinstance(last, Adopted)
    return last


def test_a_folder_is_taken_over_without_what_is_not_needed(source: Path, folder: Path) -> None:
    before = folder_content(source)
    adopted(source, folder)
    assert folder_content(folder).keys() == NEEDED | {"bildwerk-files.json"}
    assert problems(folder) == []
    assert folder_content(source) == before


def test_files_on_the_same_disk_take_no_further_space(source: Path, folder: Path) -> None:
    manners = adopted(source, folder, free=lambda _: 0).manners
    assert set(manners.values()) <= {Manner.REFLINK, Manner.HARD_LINK}


def test_a_copy_is_a_file_of_its_own(source: Path, folder: Path) -> None:
    manners = adopted(source, folder, may_share=False).manners
    assert set(manners.values()) == {Manner.COPY}
    (source / TRANSFORMER).write_bytes(b"changed in place")
    assert problems(folder) == []


def test_a_copy_needs_room(source: Path, folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has 1 B free, but 500\.5 MB are needed"):
        adopted(source, folder, may_share=False, free=lambda _: 1)
    assert not folder.exists()


def test_the_sha256_of_every_file_is_recorded(source: Path, folder: Path) -> None:
    adopted(source, folder)
    records = read_manifest(folder).files
    assert records.keys() == NEEDED
    for path, record in records.items():
        assert record.sha256 == hashlib.sha256((folder / path).read_bytes()).hexdigest()
        assert record.source == str(source / path)


def test_a_folder_that_is_in_its_place_is_only_recorded(source: Path) -> None:
    last = adopted(source, source)
    assert last.manners == {}
    assert read_manifest(source).files.keys() == NEEDED
    assert folder_content(source).keys() == model_files().keys() | {"bildwerk-files.json"}


def test_the_cache_of_the_hub_is_taken_over_through_its_links(tmp_path: Path, folder: Path) -> None:
    repository = tmp_path / "hub" / "models--painters--lake"
    for path, content in model_files().items():
        blob = repository / "blobs" / hashlib.sha256(content).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link = repository / "snapshots" / "abc" / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    write(repository, {"refs/main": b"abc"})
    adopted(repository, folder)
    assert problems(folder) == []
    assert not any(path.is_symlink() for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("name", "content"),
    [("flux1.safetensors", safetensors(name=TRANSFORMER_KEY)), ("flux1-Q4_0.gguf", gguf(TRANSFORMER_KEY))],
)
def test_a_single_file_is_taken_over(tmp_path: Path, folder: Path, name: str, content: bytes) -> None:
    write(tmp_path, {name: content})
    adopted(tmp_path / name, folder)
    assert (folder / name).read_bytes() == content
    assert (tmp_path / name).read_bytes() == content


def test_single_files_go_beside_what_is_there(tmp_path: Path, folder: Path) -> None:
    parts = {path: content for path, content in model_files().items() if "/" in path and "transformer" not in path}
    adopted(write(tmp_path / "parts", parts), folder)
    assert problems(folder) != []
    write(tmp_path, {"flux1-Q4_0.gguf": gguf(TRANSFORMER_KEY)})
    adopted(tmp_path / "flux1-Q4_0.gguf", folder)
    assert problems(folder) == []


def test_an_unfinished_pull_stays_to_be_gone_on_with(source: Path, folder: Path) -> None:
    write(folder, {".incoming/abc.part": b"half"})
    adopted(source, folder)
    assert (folder / ".incoming" / "abc.part").read_bytes() == b"half"


def test_one_that_is_broken_off_leaves_nothing_and_harms_nothing(source: Path, folder: Path) -> None:
    before = folder_content(source)
    for event in adopt(source, folder):
        if isinstance(event, Transfer):
            break
    del event
    assert not folder.exists() or folder_content(folder) == {}
    assert folder_content(source) == before


WHOLE = safetensors(name=TRANSFORMER_KEY)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("flux1.ckpt", WHOLE, "can run code when it is loaded"),
        ("flux1.pt", WHOLE, "can run code when it is loaded"),
        ("flux1.bin", WHOLE, "can run code when it is loaded"),
        ("flux1.safetensors", pickle.dumps({"a": bytes(99)}), "can run code when it is loaded"),
        ("flux1.safetensors", b"PK\x03\x04" + bytes(99), "can run code when it is loaded"),
        ("flux1.gguf", pickle.dumps({"a": bytes(99)}), "is not a GGUF file"),
        ("flux1.safetensors", WHOLE[:-1], "cut off"),
        ("flux1.zip", WHOLE, "is no file of weights"),
        ("lora.safetensors", safetensors(name="lora_A.weight"), "holds no part of FLUX"),
    ],
)
def test_a_file_that_is_no_whole_part_of_a_model_is_refused(
    tmp_path: Path, folder: Path, name: str, content: bytes, says: str
) -> None:
    write(tmp_path, {name: content})
    with pytest.raises(CheckpointError, match=says):
        adopted(tmp_path / name, folder)
    assert (tmp_path / name).read_bytes() == content
    assert not folder.exists()


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path, folder: Path) -> None:
    os.mkfifo(tmp_path / "flux1.safetensors")
    with pytest.raises(CheckpointError, match="is not a regular file"):
        adopted(tmp_path / "flux1.safetensors", folder)


def test_a_link_that_leads_elsewhere_is_refused(tmp_path: Path, source: Path, folder: Path) -> None:
    elsewhere = tmp_path / "elsewhere.safetensors"
    (source / TRANSFORMER).rename(elsewhere)
    (source / TRANSFORMER).symlink_to(elsewhere)
    with pytest.raises(CheckpointError, match="is a link that leads out of its folder"):
        adopted(source, folder)
    assert not folder.exists()


def test_a_link_among_the_parts_of_a_model_is_refused_too(tmp_path: Path, folder: Path) -> None:
    parts = write(tmp_path / "parts", {"vae/model.safetensors": safetensors()})
    (tmp_path / "secret").write_text("{}")
    (parts / "vae" / "config.json").symlink_to(tmp_path / "secret")
    with pytest.raises(CheckpointError, match="is a link that leads out of its folder"):
        adopted(parts, folder)


@pytest.mark.parametrize("path", ["vae/config.json", "text_encoder/model.safetensors", "tokenizer_2/tokenizer.json"])
def test_a_folder_that_is_not_whole_is_refused(source: Path, folder: Path, path: str) -> None:
    (source / path).unlink()
    with pytest.raises(CheckpointError, match="not taken over"):
        adopted(source, folder)
    assert not folder.exists()


def test_a_folder_of_other_things_is_refused(tmp_path: Path, folder: Path) -> None:
    write(tmp_path / "pictures", {"lake.png": b"png"})
    with pytest.raises(CheckpointError, match=r"holds neither model_index\.json nor folders of a model"):
        adopted(tmp_path / "pictures", folder)
