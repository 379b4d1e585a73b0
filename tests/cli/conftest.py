"""The toy model in the place of schnell, and the command line run here or in a process of its own."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bildwerk.cli.main import main
from bildwerk.cli.model_files import MODELS_VARIABLE

SCHNELL_FOLDER = "black-forest-labs--flux-schnell"


@dataclass(frozen=True)
class Outcome:
    exit_code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Bildwerk = Callable[..., Outcome]


@pytest.fixture
def bildwerk(capsys: pytest.CaptureFixture[str]) -> Bildwerk:
    """Run a command line in this process."""

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        exit_code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Outcome(exit_code, out, err)

    return run


def start_process(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """A command line in a process of its own."""
    command = [sys.executable, "-m", "bildwerk", *map(str, arguments)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


@pytest.fixture
def models_folder(random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder of one's own, in which the toy model stands for schnell."""
    folder = tmp_path / "models"
    shutil.copytree(random_model, folder / SCHNELL_FOLDER)
    monkeypatch.setenv(MODELS_VARIABLE, str(folder))
    return folder


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the processes that a test starts."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
