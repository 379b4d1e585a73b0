"""Every command explains itself, and the two that only look say what they see."""

import json
from pathlib import Path

import pytest

from bildwerk.cli.commands.doctor import describe
from bildwerk.cli.machine import read_devices, read_machine
from bildwerk.cli.main import COMMANDS
from tests.cli.conftest import SCHNELL_FOLDER, Bildwerk, start_process

SUBCOMMANDS = [
    *(("models", name) for name in ("list", "show", "pull", "import", "verify", "remove", "quantize")),
    *(("loras", name) for name in ("add", "list", "remove")),
    *(("keys", name) for name in ("create", "list", "revoke")),
    *(("accounts", name) for name in ("create", "list", "show", "top-up")),
]


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS), *SUBCOMMANDS], ids=" ".join)
def test_every_command_has_help(bildwerk: Bildwerk, command: tuple[str, ...]) -> None:
    outcome = bildwerk(*command, "--help")
    assert (outcome.exit_code, outcome.err) == (0, "")
    assert outcome.out.startswith(" ".join(["Usage: bildwerk", *command]))


def test_the_version_is_printed(bildwerk: Bildwerk) -> None:
    assert bildwerk("--version").out == "bildwerk 0.1.0\n"


def test_python_dash_m_is_the_same_command() -> None:
    out, err = start_process("--version").communicate(timeout=120)
    assert (out, err) == ("bildwerk 0.1.0\n", "")


def test_an_unknown_command_is_explained(bildwerk: Bildwerk) -> None:
    outcome = bildwerk("paint")
    assert outcome.exit_code == 2
    assert 'Unknown command "paint"' in outcome.err


def test_models_list_says_which_are_ready(bildwerk: Bildwerk, models_folder: Path) -> None:
    models = {model["id"]: model for model in bildwerk("models", "list").events}
    assert models["black-forest-labs/flux-schnell"]["ready"]
    assert "bildwerk/flux-tiny" in models
    lines = bildwerk("models", "list", "--no-json").out.splitlines()
    [line] = [line for line in lines if line.startswith("black-forest-labs/flux-schnell")]
    assert "ready" in line


def test_models_show_says_what_is_wrong_and_what_to_do(bildwerk: Bildwerk, models_folder: Path) -> None:
    (models_folder / SCHNELL_FOLDER / "vae" / "config.json").unlink()
    [model] = bildwerk("models", "show", "flux-schnell").events
    assert model["problems"] == [
        f"{models_folder / SCHNELL_FOLDER / 'vae' / 'config.json'} is missing or cannot be reached"
    ]
    assert "bildwerk models pull flux-schnell" in model["advice"]
    text = bildwerk("models", "show", "flux-schnell", "--no-json").out
    assert "is missing" in text
    assert "bildwerk models pull flux-schnell" in text


def test_models_show_names_the_models_there_are(bildwerk: Bildwerk) -> None:
    outcome = bildwerk("models", "show", "nothing")
    assert outcome.exit_code == 1
    assert "bildwerk/flux-tiny" in outcome.err


def test_doctor_examines_machine_packages_devices_and_models(bildwerk: Bildwerk, models_folder: Path) -> None:
    outcome = bildwerk("doctor")
    [diagnosis] = outcome.events
    assert diagnosis["can_make_pictures"]
    assert outcome.exit_code == 0
    assert diagnosis["packages"]["torch"].startswith("2.")
    assert diagnosis["devices"]["devices"][0]["name"] == "cpu"
    assert diagnosis["machine"]["cores"] >= 1
    assert {model["id"] for model in diagnosis["models"]} >= {"bildwerk/flux-tiny", "black-forest-labs/flux-schnell"}


def test_doctor_runs_nothing_that_lies_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('this file was run')")
    monkeypatch.chdir(tmp_path)
    assert "devices" in read_devices()


def test_a_device_is_described_with_a_label_to_each_number() -> None:
    assert describe({"name": "cpu", "threads": 1}) == "cpu, threads 1"


def test_doctor_on_a_machine_without_models_says_what_to_do(
    bildwerk: Bildwerk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BILDWERK_MODELS", str(tmp_path))
    monkeypatch.setattr("bildwerk.checkpoints.location.PACKAGE_FOLDER", tmp_path)
    outcome = bildwerk("doctor", "--no-json")
    assert outcome.exit_code == 1
    assert "This machine cannot make pictures yet." in outcome.out
    assert "bildwerk models pull flux-schnell" in outcome.out


CPUINFO = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 avx512f avx512_bf16 avx_vnni amx_tile\n"
MEMINFO = "MemTotal:       33554432 kB\nMemAvailable:   16777216 kB\n"


def test_the_machine_is_read_from_proc(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(CPUINFO)
    (tmp_path / "meminfo").write_text(MEMINFO)
    machine = read_machine(tmp_path)
    assert machine.cpu == "Some CPU"
    assert machine.cpu_features == ("AVX2", "AVX-512", "bf16", "VNNI", "AMX")
    assert (machine.memory_gib, machine.available_gib) == (32.0, 16.0)


def test_a_machine_without_proc_is_still_described(tmp_path: Path) -> None:
    machine = read_machine(tmp_path)
    assert machine.memory_gib is None
    assert machine.cpu_features == ()
    assert json.dumps(machine.system)
