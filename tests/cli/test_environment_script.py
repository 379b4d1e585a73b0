"""The script that makes the virtual environment repairs one that is half made, and leaves a finished one alone."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = """#!/bin/sh
echo "$@" >>calls
case $2 in venv) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;; esac
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of no content, in which a script stands for Python and writes down what it is asked."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "environment", tmp_path / "scripts")
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text("")
    script(tmp_path / "python", PYTHON)
    return tmp_path


def script(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(0o755)


def calls(project: Path) -> list[str]:
    """What Python is asked while the environment is made."""
    (project / "calls").write_text("")
    command = ["bash", "-euc", "source scripts/environment; environment engine"]
    environment = {**os.environ, "PYTHON": str(project / "python")}
    subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)
    return [line for line in (project / "calls").read_text().splitlines() if line.startswith("-m")]


def test_an_environment_is_made_once(project: Path) -> None:
    made, installed = calls(project)
    assert made == "-m venv --clear .venv"
    assert installed.startswith("-m pip install")
    assert calls(project) == []


def test_an_environment_without_pip_is_made_again(project: Path) -> None:
    script(project / ".venv" / "bin" / "python", "#!/bin/sh\nexit 1\n")
    assert calls(project)[0] == "-m venv --clear .venv"


def test_a_change_is_installed_into_the_environment_that_is_there(project: Path) -> None:
    calls(project)
    (project / "pyproject.toml").write_text("changed")
    asked, installed = calls(project)
    assert asked == "-m pip --version"
    assert installed.startswith("-m pip install")
