"""What cannot be done is explained in one line with the right exit code, before the work, and leaves no half file."""

import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from io import StringIO
from pathlib import Path

import pytest

from bildwerk.engine.request import OutOfMemoryError, Progress
from tests.cli.conftest import SCHNELL_FOLDER, Bildwerk, Outcome, start_process

GENERATE = ("generate", "a lake", "--model", "flux-schnell")
TIMEOUT = 300


def assert_explained(outcome: Outcome, sentence: str, folder: Path, exit_code: int = 1) -> None:
    assert outcome.exit_code == exit_code
    assert sentence in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert outcome.err.startswith("bildwerk: ")
    assert "Traceback" not in outcome.err
    assert [path.name for path in folder.iterdir() if path.name != "models"] == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--size", "0"), "width 0 is outside 64 to 2048"),
        (("--size", "17"), "width 17 is outside 64 to 2048"),
        (("--size", "64x17"), "height 17 is outside 64 to 2048"),
        (("--size=-1",), "size '-1' is not a width and a height in pixels"),
        (("--size", "1e9"), "size '1e9' is not a width and a height in pixels"),
        (("--size", "100000x100000"), "width 100000 is outside 64 to 2048"),
        (("--size", "abc"), "size 'abc' is not a width and a height in pixels"),
        (("--steps", "0"), "steps 0 is outside 1 to 50"),
        (("--steps", "10000"), "steps 10000 is outside 1 to 50"),
        (("--steps", "many"), "many"),
        (("--seed", "4294967296"), "seed 4294967296 is outside 0 to 4294967295"),
        (("--n", "0"), "number of pictures 0 is outside 1 to 100"),
        (("-n", "101"), "number of pictures 101 is outside 1 to 100"),
        (("--device", "toaster"), "--device must be cpu, mps, cuda or a numbered one such as cuda:0, not 'toaster'"),
        (("--dtype", "float8"), "--dtype must be float32 (or fp32) or bfloat16 (or bf16), not 'float8'"),
        (("--dtype", "fp16"), "--dtype fp16 cannot be used: FLUX and T5 have values that it does not hold"),
        (("--precision", "int3"), 'Invalid value "int3" for --precision. Choose from: "bf16", "int8", "fp8", "int4".'),
        (("--colour", "red"), "--colour"),
        (("--steps",), "--steps needs a value after it; bildwerk generate --help says which"),
        (("--lora", "soft:much"), "--lora 'soft:much': after the colon there must be a number from -4 to 4"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_number_or_name_that_cannot_be(
    bildwerk: Bildwerk, models_folder: Path, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    assert_explained(bildwerk(*GENERATE, "-o", tmp_path / "lake.png", *arguments), sentence, tmp_path, exit_code=2)


@pytest.mark.parametrize(
    ("arguments", "lacking"),
    [
        (("models", "show"), "bildwerk models show needs a MODEL after it; bildwerk models show --help says which"),
        (("accounts", "top-up", "acc_1"), "bildwerk accounts top-up needs an AMOUNT after it"),
    ],
)
def test_what_is_lacking_is_called_as_the_help_calls_it(
    bildwerk: Bildwerk, tmp_path: Path, arguments: tuple[str, ...], lacking: str
) -> None:
    assert_explained(bildwerk(*arguments), lacking, tmp_path, exit_code=2)
    assert lacking.split(" needs ")[1].split()[1] in bildwerk(*arguments, "--help").out


@pytest.mark.parametrize("name", ["{sed}.png", "lake-{N}.png", "{n}-{}.png"])
def test_a_mistyped_placeholder(bildwerk: Bildwerk, models_folder: Path, tmp_path: Path, name: str) -> None:
    outcome = bildwerk(*GENERATE, "-o", tmp_path / name)
    assert_explained(outcome, f"in {name!r} is not filled in: there are {{n}} and {{seed}}", tmp_path, exit_code=2)


def test_a_device_that_this_machine_lacks_is_no_mistake_of_typing(
    bildwerk: Bildwerk, models_folder: Path, tmp_path: Path
) -> None:
    outcome = bildwerk(*GENERATE, "--size", "64", "--device", "cuda:99", "-o", tmp_path / "lake.png")
    assert_explained(outcome, "there is no device 'cuda:99' here", tmp_path)


def test_a_model_that_nobody_knows(bildwerk: Bildwerk, tmp_path: Path) -> None:
    outcome = bildwerk("generate", "a lake", "--model", "flux-pro", "-o", tmp_path / "lake.png")
    assert_explained(outcome, "there is no model 'flux-pro'; there are black-forest-labs/flux-schnell, ", tmp_path)


@pytest.mark.parametrize("prompt", ["", "   ", "\n"])
def test_an_empty_prompt(bildwerk: Bildwerk, models_folder: Path, tmp_path: Path, prompt: str) -> None:
    outcome = bildwerk("generate", prompt, "--model", "flux-schnell", "-o", tmp_path / "lake.png")
    assert_explained(outcome, "the prompt is empty", tmp_path, exit_code=2)


def test_no_prompt_at_a_terminal(bildwerk: Bildwerk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = StringIO("never read")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    outcome = bildwerk("generate", "--model", "flux-schnell", "-o", tmp_path / "lake.png")
    assert_explained(outcome, "say what the picture should show", tmp_path, exit_code=2)


def test_a_prompt_of_a_megabyte(
    bildwerk: Bildwerk, models_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped = StringIO("a" * 1_000_000)
    monkeypatch.setattr("sys.stdin", piped)
    outcome = bildwerk("generate", "--model", "flux-schnell", "-o", tmp_path / "lake.png")
    assert_explained(outcome, "the prompt has more than 10,000 characters, which is the limit", tmp_path, exit_code=2)
    assert piped.tell() == 10_001


def test_a_model_whose_folder_is_missing(bildwerk: Bildwerk, models_folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(models_folder / SCHNELL_FOLDER)
    outcome = bildwerk(*GENERATE, "-o", tmp_path / "lake.png")
    assert_explained(outcome, f"the folder {models_folder / SCHNELL_FOLDER} does not exist", tmp_path)
    assert "bildwerk models pull flux-schnell" in outcome.err


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        ("~nosuchuser/models", "there is no home folder for ~nosuchuser/models: set BILDWERK_MODELS to another one"),
        ("/" + "x" * 300, "File name too long"),
    ],
)
def test_a_models_folder_that_cannot_be(
    bildwerk: Bildwerk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, sentence: str
) -> None:
    monkeypatch.setenv("BILDWERK_MODELS", folder)
    assert_explained(bildwerk(*GENERATE, "-o", tmp_path / "lake.png"), sentence, tmp_path)


def test_an_embedded_model_needs_no_models_folder(bildwerk: Bildwerk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILDWERK_MODELS", "~nosuchuser/models")
    [model] = bildwerk("models", "show", "flux-tiny").events
    assert model["folder"].endswith("flux-tiny")


def test_every_path_is_checked_before_the_work(bildwerk: Bildwerk, models_folder: Path, tmp_path: Path) -> None:
    (models_folder / "lake-2.png").mkdir()
    outcome = bildwerk(*GENERATE, "--size", "64", "--n", "2", "-o", models_folder / "lake.png")
    assert_explained(outcome, "lake-2.png: it is a folder", tmp_path)
    assert not (models_folder / "lake-1.png").exists()


def failing_import(name: str) -> object:
    """`import` raises as it does where the module `name` is not installed."""

    class Missing:
        def find_spec(self, wanted: str, *_: object) -> None:
            if wanted == "bildwerk.engine.engine":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    return Missing()


@pytest.mark.parametrize(
    ("name", "exit_code", "sentence"),
    [("torch", 1, "needs torch, which is not installed"), ("bildwerk.gone", 3, "a bug: ModuleNotFoundError")],
)
def test_only_the_packages_of_the_engine_may_be_missing(
    bildwerk: Bildwerk, models_folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, exit_code: int, sentence: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(models_folder))
    monkeypatch.delitem(sys.modules, "bildwerk.engine.engine", raising=False)
    monkeypatch.setattr("sys.meta_path", [failing_import(name), *sys.meta_path])
    outcome = bildwerk(*GENERATE, "--size", "64", "-o", models_folder / "lake.png")
    assert outcome.exit_code == exit_code
    assert sentence in outcome.err


class FailingEngine:
    def generate(self, _requests: object) -> Iterator[object]:
        yield Progress("encode", 0, 1)
        raise OutOfMemoryError("the device has too little memory")


def test_an_engine_that_fails_at_work_is_explained(
    bildwerk: Bildwerk, models_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bildwerk.cli.commands.generate.load_engine", lambda *_: FailingEngine())
    outcome = bildwerk(*GENERATE, "--size", "64", "-o", tmp_path / "lake.png")
    assert_explained(outcome, "the device has too little memory", tmp_path)


def weights(models_folder: Path) -> Path:
    return models_folder / SCHNELL_FOLDER / "transformer" / "diffusion_pytorch_model.safetensors"


def test_truncated_weights(bildwerk: Bildwerk, models_folder: Path, tmp_path: Path) -> None:
    path = weights(models_folder)
    path.write_bytes(path.read_bytes()[:-1000])
    outcome = bildwerk(*GENERATE, "-o", tmp_path / "lake.png")
    assert_explained(outcome, f"{path} describes", tmp_path)
    assert "it is cut off or padded" in outcome.err


def test_a_pickle_under_a_safe_name(bildwerk: Bildwerk, models_folder: Path, tmp_path: Path) -> None:
    weights(models_folder).write_bytes(pickle.dumps({"weight": bytes(1000)}))
    outcome = bildwerk(*GENERATE, "-o", tmp_path / "lake.png")
    assert_explained(outcome, "a Python pickle; such a file can run code when it is loaded", tmp_path)


def test_weights_of_another_model(bildwerk: Bildwerk, models_folder: Path, tmp_path: Path) -> None:
    shutil.copy(models_folder / SCHNELL_FOLDER / "vae" / "diffusion_pytorch_model.safetensors", weights(models_folder))
    outcome = bildwerk(*GENERATE, "-o", tmp_path / "lake.png")
    assert_explained(outcome, "does not hold this model's tensors", tmp_path)


@pytest.mark.parametrize(
    ("target", "sentence", "exit_code"),
    [
        ("gone/lake.png", "there is no folder", 1),
        ("models/lake", "cannot tell the picture's format from 'lake'", 2),
        ("folder.png", "it is a folder", 1),
        ("x" * 300 + ".png", "File name too long", 1),
        ("/proc/lake.png", "cannot write /proc/lake.png", 1),
    ],
)
def test_a_path_that_cannot_be_written(
    bildwerk: Bildwerk, models_folder: Path, tmp_path: Path, target: str, sentence: str, exit_code: int
) -> None:
    (models_folder / "folder.png").mkdir()
    path = models_folder / target if target == "folder.png" else tmp_path / target
    assert_explained(bildwerk(*GENERATE, "--size", "64", "-o", path), sentence, tmp_path, exit_code)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four pages, where this account may make one."""
    folder = tmp_path / "models" / "disk"
    folder.mkdir(parents=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk(bildwerk: Bildwerk, tmp_path: Path, random_model: Path, full_disk: Path, monkeypatch) -> None:
    shutil.copytree(random_model, tmp_path / "models" / SCHNELL_FOLDER)
    monkeypatch.setenv("BILDWERK_MODELS", str(tmp_path / "models"))
    target = full_disk / "lake.png"
    target.write_bytes(b"old")
    outcome = bildwerk(*GENERATE, "--size", "128", "-o", target)
    assert_explained(outcome, f"cannot write {target}: No space left on device", tmp_path)
    assert target.read_bytes() == b"old"
    assert list(full_disk.iterdir()) == [target]


def test_a_file_size_limit(models_folder: Path, tmp_path: Path) -> None:
    process = start_process(
        *GENERATE,
        *("--size", "128", "-o", tmp_path / "lake.png"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    out, err = process.communicate(timeout=TIMEOUT)
    assert_explained(Outcome(process.returncode, out, err), "File too large", tmp_path)


def test_an_interrupt_ends_with_130_and_leaves_only_whole_pictures(models_folder: Path, tmp_path: Path) -> None:
    process = start_process(*GENERATE, "--size", "256", "--n", "100", "-o", tmp_path / "lake.png")
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["event"] == "image":
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, err) == (130, "bildwerk: interrupted\n")
    written = [path for path in tmp_path.iterdir() if path.name != "models"]
    assert written
    assert all(path.name.startswith("lake-") and path.read_bytes().endswith(b"IEND\xaeB`\x82") for path in written)


def test_a_reader_that_leaves_is_no_bug(models_folder: Path) -> None:
    process = start_process("models", "list")
    assert process.stdout is not None
    process.stdout.close()
    process.wait(timeout=TIMEOUT)
    assert process.stderr is not None
    assert (process.returncode, process.stderr.read()) == (1, "")
    process.stderr.close()


def run_in_shell(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """`$0` in the command is bildwerk."""
    program = f"{sys.executable} -m bildwerk"
    return subprocess.run(
        ["sh", "-c", command.replace("$0", program)],
        capture_output=True,
        timeout=TIMEOUT,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize(
    "command", ["$0 models list > /dev/full", "$0 models show flux-tiny --no-json > /dev/full", "$0 --help > /dev/full"]
)
def test_output_that_cannot_be_written_is_no_bug(command: str) -> None:
    done = run_in_shell(command, PYTHONUNBUFFERED="")
    assert done.stderr == b"bildwerk: cannot write to standard output: No space left on device\n"
    assert done.returncode == 1


def test_closed_streams_are_empty_ones(tmp_path: Path) -> None:
    assert run_in_shell("$0 models list >&-").returncode == 0
    done = run_in_shell(f"$0 generate --size 64 -o {tmp_path / 'lake.png'} <&-")
    assert done.returncode == 2
    assert done.stderr.startswith(b"bildwerk: the prompt is empty")


def test_what_the_encoding_lacks_is_escaped(models_folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "m\u00fchle.png"
    command = f"$0 generate lake --model flux-schnell --size 64 --steps 1 --no-json -o {target}"
    done = run_in_shell(command, PYTHONIOENCODING="ascii", PYTHONUTF8="1")
    assert (done.returncode, target.is_file()) == (0, True), done.stderr
    assert b"m\\xfchle.png  64x64" in done.stdout


def test_piped_bytes_that_are_no_text_become_question_marks(models_folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "lake.png"
    command = f"printf 'a \\377 lake' | $0 generate --model flux-schnell --size 64 --steps 1 -o {target}"
    done = run_in_shell(command, PYTHONIOENCODING="ascii:strict")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0])["prompt"] == "a \ufffd lake"


def test_an_interrupt_while_the_program_is_imported_ends_with_130() -> None:
    code = """
import sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == "bildwerk.cli.main":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
from bildwerk.__main__ import run
run()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "bildwerk: interrupted\n")


@pytest.mark.parametrize("broken", ["tempfile.NamedTemporaryFile", "bildwerk.cli.main.write_log"])
def test_a_bug_whose_log_cannot_be_kept_still_ends_with_3(
    bildwerk: Bildwerk, models_folder: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(broken, refuse)
    monkeypatch.setattr("bildwerk.cli.order.parse_size", lambda text: 1 / 0)
    outcome = bildwerk(*GENERATE, "--size", "64", "-o", models_folder / "lake.png")
    assert outcome.exit_code == 3
    assert "ZeroDivisionError: division by zero. The traceback could not be kept" in outcome.err


def test_a_bug_without_the_metadata_of_the_package_still_ends_with_3(
    bildwerk: Bildwerk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("bildwerk.cli.main.version", missing)
    monkeypatch.setattr("bildwerk.cli.machine.version", missing)
    outcome = bildwerk("models", "list")
    assert outcome.exit_code == 3
    assert "a bug: PackageNotFoundError" in outcome.err
    assert list(tmp_path.glob("bildwerk-*.log"))


def test_a_bug_ends_with_3_and_the_path_of_a_log(
    bildwerk: Bildwerk, models_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(models_folder))
    monkeypatch.setattr("bildwerk.cli.order.parse_size", lambda text: 1 / 0)
    outcome = bildwerk(*GENERATE, "--size", "64", "-o", tmp_path / "lake.png")
    assert outcome.exit_code == 3
    [log] = models_folder.glob("bildwerk-*.log")
    assert outcome.err == f"bildwerk: a bug: ZeroDivisionError: division by zero. The traceback is in {log}\n"
    assert "Traceback" in log.read_text()


def test_a_prompt_without_quotes_is_told_about_quotes(bildwerk: Bildwerk) -> None:
    outcome = bildwerk("generate", "a", "lake", "at", "dawn")
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert outcome.err == "bildwerk: nothing takes 'lake at dawn': a text with spaces is one argument, in quotes\n"
