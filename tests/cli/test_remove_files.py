"""`bildwerk models remove`: what goes, what stays, and who is asked first."""

import os
import shutil
from io import StringIO
from pathlib import Path

import pytest

from bildwerk.checkpoints.folder_lock import locked
from bildwerk.checkpoints.folder_use import used
from bildwerk.checkpoints.removal import holding
from bildwerk.cli.commands.serve import models_in_use
from bildwerk.settings import from_environment
from tests.cli.conftest import SCHNELL_FOLDER, Bildwerk

REMOVE = ("models", "remove", "flux-schnell")


@pytest.fixture
def folder(models_folder: Path) -> Path:
    return models_folder / SCHNELL_FOLDER


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def answer_with(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    terminal = StringIO(text)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)


def test_it_says_how_much_it_frees_and_removes_nothing_else(bildwerk: Bildwerk, folder: Path) -> None:
    lora = folder.parent / "loras" / SCHNELL_FOLDER / "soft.safetensors"
    lora.parent.mkdir(parents=True)
    lora.write_bytes(b"weights")
    size = size_of(folder)
    outcome = bildwerk(*REMOVE, "--yes")
    assert (outcome.exit_code, outcome.err) == (0, "")
    [event] = outcome.events
    assert (event["event"], event["freed_bytes"], event["shared_bytes"]) == ("removed", size, 0)
    assert sorted(path.name for path in folder.parent.iterdir() if not path.name.startswith(".")) == ["loras"]
    assert lora.exists()
    again = bildwerk(*REMOVE, "--yes")
    assert again.exit_code == 1
    assert f"there is no folder {folder}: nothing is to be removed" in again.err


@pytest.mark.parametrize(
    ("answer", "goes"), [("y\n", True), ("yes\n", True), ("\n", False), ("n\n", False), ("", False)]
)
def test_at_a_terminal_it_asks(
    bildwerk: Bildwerk, folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str, goes: bool
) -> None:
    answer_with(monkeypatch, answer)
    question = f"remove black-forest-labs/flux-schnell, {size_of(folder) / 1e6:.1f} MB in {folder}? [y/N]"
    outcome = bildwerk(*REMOVE, "--no-json")
    assert question in outcome.err
    assert (outcome.exit_code, folder.exists()) == ((0, False) if goes else (1, True))


def test_where_nobody_can_be_asked_it_wants_to_be_told(bildwerk: Bildwerk, folder: Path) -> None:
    outcome = bildwerk(*REMOVE)
    assert (outcome.exit_code, folder.is_dir()) == (2, True)
    assert "add --yes" in outcome.err


def test_what_is_used_stays(bildwerk: Bildwerk, folder: Path) -> None:
    with used(folder), used(folder):
        outcome = bildwerk(*REMOVE, "--yes")
    assert outcome.exit_code == 1
    assert f"{folder} is used right now" in outcome.err
    assert folder.is_dir()


def test_a_service_uses_every_model_that_is_here(bildwerk: Bildwerk, folder: Path) -> None:
    with models_in_use(from_environment()):
        assert bildwerk(*REMOVE, "--yes").exit_code == 1
    assert bildwerk(*REMOVE, "--yes").exit_code == 0


def test_what_is_being_filled_stays(bildwerk: Bildwerk, folder: Path) -> None:
    with locked(folder):
        outcome = bildwerk(*REMOVE, "--yes")
    assert outcome.exit_code == 1
    assert f"is filling {folder} right now" in outcome.err
    assert folder.is_dir()


def test_links_in_the_folder_go_and_what_they_lead_to_stays(bildwerk: Bildwerk, folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept.safetensors").write_bytes(b"kept")
    (folder / "parts").symlink_to(elsewhere)
    (folder / "one.safetensors").symlink_to(elsewhere / "kept.safetensors")
    assert bildwerk(*REMOVE, "--yes").exit_code == 0
    assert not folder.exists()
    assert (elsewhere / "kept.safetensors").read_bytes() == b"kept"


def test_a_folder_that_is_a_link_is_no_more_than_a_link(bildwerk: Bildwerk, folder: Path, tmp_path: Path) -> None:
    shutil.move(folder, tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    [event] = bildwerk(*REMOVE, "--yes").events
    assert (event["was_link"], event["freed_bytes"]) == (True, 0)
    assert not os.path.lexists(folder)
    assert (tmp_path / "elsewhere" / "model_index.json").is_file()


def test_files_with_a_second_name_free_nothing(folder: Path, tmp_path: Path) -> None:
    before = holding(folder)
    os.link(folder / "model_index.json", tmp_path / "second")
    found = holding(folder)
    assert found.shared_bytes == (tmp_path / "second").stat().st_size
    assert found.own_bytes == before.own_bytes - found.shared_bytes


def test_a_removal_that_was_broken_off_is_gone_on_with(bildwerk: Bildwerk, folder: Path) -> None:
    folder.rename(folder.with_name(f".{folder.name}.removing"))
    [event] = bildwerk(*REMOVE, "--yes").events
    assert event["freed_bytes"] > 0
    assert not folder.with_name(f".{folder.name}.removing").exists()


def test_what_is_part_of_bildwerk_stays(bildwerk: Bildwerk) -> None:
    outcome = bildwerk("models", "remove", "flux-tiny", "--yes")
    assert outcome.exit_code == 1
    assert "bildwerk/flux-tiny is part of Bildwerk: it cannot be removed" in outcome.err
