"""Only ordinary files in the folder itself are LoRAs, and only under names of the legal form."""

import os
from pathlib import Path

import pytest

from bildwerk.weights import lora_place
from bildwerk.weights.errors import WeightsError
from bildwerk.weights.lora_place import LoraPlace, lora_names

ILLEGAL = ["", ".", "..", "../x", "a/b", "/etc/passwd", ".x", "-x", "_x", "A", "ä", "a b", "a\n", "a\x00", "x" * 65]


@pytest.mark.parametrize("name", ILLEGAL)
def test_what_is_no_name_has_no_place(name: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is not the name of a LoRA"):
        LoraPlace.named(tmp_path, name)


@pytest.mark.parametrize("name", ["a", "7", "soft-light_2.safetensors", "a..b", "x" * 64])
def test_a_name_leads_into_the_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.safetensors").write_bytes(b"1234")
    with LoraPlace.named(tmp_path, name).opened() as file:
        assert file.read() == b"1234"
    assert lora_names(tmp_path) == [name]


def test_only_ordinary_files_with_legal_names_are_listed(tmp_path: Path) -> None:
    for name in ("b.safetensors", "a.safetensors", "A.safetensors", ".x.safetensors", "a.bin", ".safetensors"):
        (tmp_path / name).touch()
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "a.bin")
    assert lora_names(tmp_path) == ["a", "b"]
    assert lora_names(tmp_path / "nowhere") == []


def test_a_link_is_not_followed_and_a_pipe_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe.safetensors")
    for name, reason in (("link", "is a link"), ("pipe", "is not a regular file"), ("none", "is not there")):
        with pytest.raises(WeightsError, match=f"the LoRA {name} {reason}"):
            LoraPlace.named(tmp_path, name).version()


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora_place, "MAX_FILE_BYTES", 3)
    (tmp_path / "a.safetensors").write_bytes(b"1234")
    with pytest.raises(WeightsError, match="has 4 bytes; at most 3 are read"):
        LoraPlace.named(tmp_path, "a").version()


def test_the_version_is_another_after_every_change(tmp_path: Path) -> None:
    path, place = tmp_path / "a.safetensors", LoraPlace.named(tmp_path, "a")
    path.write_bytes(b"1234")
    versions = [place.version()]
    path.write_bytes(b"12345")
    versions.append(place.version())
    os.utime(path, ns=(5, 5))
    versions.append(place.version())
    assert len(set(versions)) == 3
    assert place.version() == versions[-1]


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").touch()
    (tmp_path / "b.safetensors").mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        LoraPlace.named(tmp_path, "a").version()
        for name in ("b", "c"):
            with pytest.raises(WeightsError):
                LoraPlace.named(tmp_path, name).version()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_an_owners_own_path_may_lead_through_links(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"1234")
    (tmp_path / "a.safetensors").symlink_to(tmp_path / "blob")
    with LoraPlace.of_file(tmp_path / "a.safetensors").opened() as file:
        assert file.read() == b"1234"
    with pytest.raises(WeightsError, match="missing or cannot be reached"):
        LoraPlace.of_file(tmp_path / "nothing")
