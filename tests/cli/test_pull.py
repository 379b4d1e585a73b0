"""`bildwerk models pull`, in processes of its own and killed, against a hub of ours."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bildwerk.checkpoints.unreachable import reason
from tests.cli.conftest import SCHNELL_FOLDER, Bildwerk, start_process
from tests.hub_server import HubServer, folder_content, hub_server

SCHNELL = "black-forest-labs/FLUX.1-schnell"
TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"
PATIENCE_SECONDS = 120


@pytest.fixture
def hub(random_model: Path) -> Iterator[HubServer]:
    """The toy model in the place of schnell."""
    with hub_server({SCHNELL: folder_content(random_model)}) as server:
        yield server


@pytest.fixture
def models(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of models, beside a home of the hub's library that is empty too."""
    folder = tmp_path / "models"
    monkeypatch.setenv("BILDWERK_MODELS", str(folder))
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_CACHE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.mark.parametrize("name", ["flux-schnell", "black-forest-labs/flux-schnell", SCHNELL])
def test_a_model_is_pulled_by_any_of_its_names(bildwerk: Bildwerk, models: Path, name: str) -> None:
    outcome = bildwerk("models", "pull", name)
    assert (outcome.exit_code, outcome.err) == (0, "")
    plan, *_, end = outcome.events
    assert plan["event"] == "plan"
    assert end["event"] == "end"
    assert end["ready"]
    assert plan["missing_bytes"] == plan["total_bytes"] > 0
    fetched = [event["all_done"] for event in outcome.events if event["event"] == "fetch"]
    assert fetched[-1] == plan["total_bytes"]
    assert len(fetched) <= 101
    [schnell] = [model for model in bildwerk("models", "list").events if model["id"].endswith("schnell")]
    assert schnell["ready"]


def test_a_pulled_model_makes_pictures(bildwerk: Bildwerk, models: Path, tmp_path: Path) -> None:
    assert bildwerk("models", "pull", "flux-schnell").exit_code == 0
    picture = tmp_path / "cat.png"
    outcome = bildwerk("generate", "a cat", "--model", "flux-schnell", "--size", "64", "--seed", 1, "-o", picture)
    assert (outcome.exit_code, outcome.err) == (0, "")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_single_file_of_another_repository_takes_the_place_of_a_folder(
    bildwerk: Bildwerk, hub: HubServer, models: Path, tmp_path: Path
) -> None:
    """In parts: the folders but one from the model's own repository, and that one as somebody else's file."""
    transformer = hub.published[SCHNELL][TRANSFORMER]
    hub.published["painters/small"] = {"fp8/flux1.safetensors": transformer, "flux1.ckpt": b"no"}
    parts = bildwerk("models", "pull", "flux-schnell", "--without", "transformer")
    assert parts.exit_code == 1
    assert "transformer" in parts.events[-1]["problems"][0]
    whole = bildwerk("models", "pull", "painters/small", "--file", "fp8/*", "--as", "flux-schnell")
    assert (whole.exit_code, whole.err) == (0, "")
    assert (models / SCHNELL_FOLDER / "flux1.safetensors").read_bytes() == transformer
    assert bildwerk("models", "verify", "flux-schnell").exit_code == 0


def test_a_single_file_comes_with_the_tokenizers_of_its_model(bildwerk: Bildwerk, hub: HubServer, models: Path) -> None:
    hub.published["painters/small"] = {"flux1.safetensors": hub.published[SCHNELL][TRANSFORMER]}
    outcome = bildwerk("models", "pull", "painters/small", "--file", "*", "--as", "flux-schnell")
    assert outcome.exit_code == 1
    assert sorted(path.name for path in (models / SCHNELL_FOLDER).iterdir() if not path.name.startswith(".")) == [
        "bildwerk-files.json",
        "flux1.safetensors",
        "tokenizer",
        "tokenizer_2",
    ]
    assert not any("tokenizer" in problem for problem in outcome.events[-1]["problems"])


def test_off_a_terminal_there_are_lines(bildwerk: Bildwerk, models: Path) -> None:
    outcome = bildwerk("models", "pull", "flux-schnell", "--no-json")
    first, *_, last = outcome.out.splitlines()
    assert first.startswith(f"{SCHNELL} at 0123456789ab: 14 files, ")
    assert last == "black-forest-labs/flux-schnell is ready: bildwerk generate 'a lake at dawn' --model flux-schnell"
    tenths = outcome.err.splitlines()
    assert 5 <= len(tenths) <= 10
    assert "100 % of" in tenths[-1]
    again = bildwerk("models", "pull", "flux-schnell", "--no-json")
    assert "nothing was missing" in again.out
    assert again.err == ""


def test_a_pull_killed_in_the_middle_goes_on_where_it_stopped(bildwerk: Bildwerk, hub: HubServer, models: Path) -> None:
    hub.faults.stall_after = 1_000_000
    process = start_process("models", "pull", "flux-schnell", "--json")
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "fetch" and event["path"] == TRANSFORMER and event["done"] > 500_000:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == -signal.SIGKILL
    [part] = (models / SCHNELL_FOLDER / ".incoming").glob("*.part")
    kept = part.stat().st_size
    assert kept > 500_000

    hub.faults.release.set()
    hub.seen.clear()
    outcome = bildwerk("models", "pull", "flux-schnell")
    assert outcome.exit_code == 0
    plan, *_ = outcome.events
    assert plan["resumed_bytes"] >= kept
    assert {seen.range for seen in hub.seen if TRANSFORMER in seen.path} == {f"bytes={kept}-"}
    assert "text_encoder/model.safetensors" not in hub.fetched


def test_two_pulls_at_once_do_not_fight(bildwerk: Bildwerk, hub: HubServer, models: Path) -> None:
    hub.faults.stall_after = 1_000_000
    first = start_process("models", "pull", "flux-schnell", "--json")
    assert first.stdout is not None
    while json.loads(first.stdout.readline())["event"] != "fetch":
        pass
    second = bildwerk("models", "pull", "flux-schnell")
    assert second.exit_code == 1
    assert f"another process ({first.pid}) is filling {models / SCHNELL_FOLDER} right now" in second.err
    hub.faults.release.set()
    first.communicate(timeout=PATIENCE_SECONDS)
    assert first.returncode == 0


def test_an_interrupted_pull_ends_with_130_and_keeps_what_came(
    bildwerk: Bildwerk, hub: HubServer, models: Path
) -> None:
    hub.faults.stall_after = 1_000_000
    process = start_process("models", "pull", "flux-schnell", "--json")
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line).get("path") == TRANSFORMER:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, err) == (130, "bildwerk: interrupted\n")
    hub.faults.release.set()
    assert bildwerk("models", "pull", "flux-schnell").events[0]["resumed_bytes"] > 0


def test_a_gated_model_says_what_to_accept(bildwerk: Bildwerk, hub: HubServer, models: Path) -> None:
    hub.gate = "hf_right"
    outcome = bildwerk("models", "pull", "flux-schnell")
    assert outcome.exit_code == 1
    assert outcome.err.startswith(f"bildwerk: {SCHNELL} is gated: sign in and accept the conditions on {hub.endpoint}")
    assert "HF_TOKEN" in outcome.err
    assert not (models / SCHNELL_FOLDER).exists()


def test_the_token_of_the_environment_lets_in(
    bildwerk: Bildwerk, hub: HubServer, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.gate = "hf_right"
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    outcome = bildwerk("models", "pull", "flux-schnell")
    assert outcome.exit_code == 0
    assert "hf_right" not in outcome.out


def test_a_damaged_download_is_one_line_and_not_used(bildwerk: Bildwerk, hub: HubServer, models: Path) -> None:
    hub.faults.damaged.add(TRANSFORMER)
    outcome = bildwerk("models", "pull", "flux-schnell")
    assert outcome.exit_code == 1
    assert f"bildwerk: {TRANSFORMER} of {SCHNELL} arrived damaged" in outcome.err
    assert len(outcome.err.splitlines()) == 1
    hub.faults.damaged.clear()
    assert bildwerk("models", "pull", "flux-schnell").exit_code == 0


def test_a_disk_that_fills_up_on_the_way_is_explained_and_what_came_is_kept(
    bildwerk: Bildwerk, hub: HubServer, models: Path
) -> None:
    """The margin is checked beforehand, so here somebody else fills the disk meanwhile."""
    models.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600m", "tmpfs", str(models)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a file system needs root")
    try:
        hub.faults.stall_after = 1_000_000
        process = start_process("models", "pull", "flux-schnell", "--json")
        assert process.stdout is not None
        while json.loads(process.stdout.readline())["event"] != "fetch":
            pass
        fill(models / "other")
        hub.faults.release.set()
        _, err = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 1
        assert f"the disk of {models / SCHNELL_FOLDER} is full; make room and run this again" in err
        (models / "other").unlink()
        outcome = bildwerk("models", "pull", "flux-schnell")
        assert outcome.exit_code == 0
        assert outcome.events[0]["resumed_bytes"] > 0
    finally:
        subprocess.run(["umount", "-l", str(models)], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(2**20))
        except OSError:
            file.seek(0, os.SEEK_END)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["flux-tiny"], "bildwerk/flux-tiny is part of Bildwerk: there is nothing to fetch"),
        (["nothing"], "'nothing' is no model and no repository: say with --as which model"),
        (["painters/lake"], "'painters/lake' is a repository that no model comes from: say with --as which model"),
        (["painters/lake", "--as", "nothing"], "there is no model 'nothing'"),
        (["flux-schnell", "--revision", "v9"], f"{SCHNELL} has no revision 'v9'"),
        (["flux-schnell", "--without", "nose"], "'nose' is not one of a model's folders, which are scheduler"),
        (["flux-schnell", "--file", "*.bin"], f"{SCHNELL} has no file '*.bin'; its files of weights are"),
    ],
)
def test_what_cannot_be_pulled_is_explained(bildwerk: Bildwerk, models: Path, arguments: list[str], says: str) -> None:
    outcome = bildwerk("models", "pull", *arguments)
    assert outcome.exit_code == 1
    assert says in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not (models / SCHNELL_FOLDER).exists()


def test_a_hub_that_cannot_be_reached_is_explained(
    bildwerk: Bildwerk, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    outcome = bildwerk("models", "pull", "flux-schnell")
    assert outcome.exit_code == 1
    assert len(outcome.err.splitlines()) == 1
    assert f"{SCHNELL} cannot be fetched: 127.0.0.1 cannot be reached: Connection refused" in outcome.err
    assert "; nothing has changed; run this again" in outcome.err
    assert "HF_ENDPOINT" in outcome.err
    assert outcome.err.endswith("bildwerk models import FOLDER --as flux-schnell\n")
    incoming = models / SCHNELL_FOLDER / ".incoming"
    incoming.mkdir(parents=True)
    (incoming / "abc.part").write_bytes(bytes(2_000_000))
    assert "; 2.0 MB of an earlier pull are kept; " in bildwerk("models", "pull", "flux-schnell").err


def test_a_host_that_nobody_knows_is_a_lack_of_network() -> None:
    assert reason(OSError("[Errno -2] Name or service not known")) == (
        "Name or service not known (no network, or no name server)"
    )
    assert reason(OSError("[Errno 111] Connection refused")) == "Connection refused"
    assert reason(TimeoutError()) == "TimeoutError"


def test_it_needs_no_torch_and_no_library_of_the_hub() -> None:
    code = "import sys, bildwerk.cli.commands.pull; print({'torch', 'huggingface_hub', 'hf_xet'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("set()\n", "")
