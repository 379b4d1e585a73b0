"""The demo beside another program, and beside another demo: each on a port of its own, neither in the other's files."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICE = f"""#!/bin/sh
export PYTHONPATH={ROOT}
[ "$1" != serve ] || set -- "$@" --engine fake
exec {sys.executable} -m bildwerk "$@"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with what the demo needs, whose environment is this one and whose service paints without torch."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copytree(ROOT / "tests" / "contract" / "samples", tmp_path / "tests" / "contract" / "samples")
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    (folder / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (folder / "bildwerk").write_text(SERVICE)
    for path in folder.iterdir():
        path.chmod(0o755)
    stamp = "cat pyproject.toml constraints.txt | cksum >.venv/dev.stamp"
    subprocess.run(stamp, shell=True, cwd=tmp_path, check=True)
    return tmp_path


@contextmanager
def demo(project: Path, *options: str, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    """A demo in a process group of its own, ended as a terminal's Ctrl-C ends it."""
    process = subprocess.Popen(
        ["scripts/demo", *options],
        cwd=project,
        env={**{name: value for name, value in os.environ.items() if name != "BILDWERK_PORT"}, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)


def said_until(process: "subprocess.Popen[str]", words: str) -> str:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(f"it never said {words!r}: {said}")


@contextmanager
def taken(port: int) -> Iterator[int]:
    """A port on which somebody listens: we, unless another has it already."""
    with closing(socket.socket()) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            listening.bind(("127.0.0.1", port))
        if port == 0:
            port = listening.getsockname()[1]
        with suppress(OSError):
            listening.listen()
        yield port


def test_where_8000_is_taken_it_takes_another_port_and_ends_without_a_warning(project: Path) -> None:
    with taken(8000), demo(project) as process:
        said = said_until(process, "the service stays on")
        assert "port 8000 is taken; taking another one" in said
        assert ":8000" not in said.partition("the service stays on")[2]
        assert (project / "out" / "demo.png").stat().st_size > 0
    log = (project / "out" / "demo-service.log").read_text()
    assert "worker stopped" in log
    assert "worker ended" not in log
    assert not list((project / "out").glob("demo-start.*"))


def test_a_second_demo_says_where_the_first_one_is_and_leaves_its_files_alone(project: Path) -> None:
    with taken(8000), demo(project) as first:
        url = said_until(first, "the service stays on").rpartition("stays on ")[2].partition(",")[0]
        files = [project / "out" / f"demo-service.{name}" for name in ("url", "log")]
        before = [path.stat().st_ino for path in files]
        with demo(project) as second:
            said, _ = second.communicate(timeout=120)
        assert second.returncode == 1
        assert f"it is listening on {url}" in said
        assert [path.stat().st_ino for path in files] == before
        assert files[0].read_text() == f"listening on {url}\n"
        with demo(project, "--once", "--out", "beside.png") as third:
            third.communicate(timeout=120)
        assert third.returncode == 0
        assert (project / "beside.png").stat().st_size > 0


def test_a_port_that_was_asked_for_is_taken_or_refused(project: Path) -> None:
    with taken(0) as port:
        with demo(project, "--once", BILDWERK_PORT=str(port)) as process:
            said, _ = process.communicate(timeout=120)
        assert process.returncode == 1
        assert f"cannot listen on 127.0.0.1:{port}" in said
        assert not list((project / "out").glob("demo-*"))
    with demo(project, "--once", BILDWERK_PORT=str(port)) as process:
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert f"http://127.0.0.1:{port}" in said
