"""Making the kernels: what may be missing, and who may put code into the folder that they are loaded from."""

import platform
import shutil
import stat
import sys
from pathlib import Path

import pytest

from bildwerk.engine.cpu import build
from bildwerk.engine.cpu.build import KernelsUnavailableError

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64") or shutil.which("gcc") is None,
    reason="there are kernels for Linux on x86-64 alone, and here they are made with gcc",
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "bildwerk" / "kernels"


def _script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_they_are_compiled_once(cache: Path) -> None:
    build.library.__wrapped__()
    [made] = cache.iterdir()
    before = made.stat().st_mtime_ns
    build.library.__wrapped__()
    assert [path.stat().st_mtime_ns for path in cache.iterdir()] == [before]
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


def test_another_compiler_makes_others(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build.fingerprint(build.find_compilers()[0])
    monkeypatch.setenv("CC", str(_script(tmp_path / "other-cc", "echo other 1.0")))
    assert build.fingerprint(build.find_compilers()[0]) != first


def test_without_a_compiler(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(KernelsUnavailableError, match=r"no C compiler here .* install gcc"):
        build.library.__wrapped__()


def test_a_compiler_that_fails_says_why(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _script(tmp_path / "gcc", 'test "$1" = --version || { echo cannot do this >&2; exit 1; }')
    monkeypatch.setenv("PATH", f"{tmp_path}")
    with pytest.raises(KernelsUnavailableError, match="cannot compile them: cannot do this"):
        build.library.__wrapped__()
    assert not list(cache.iterdir())


@pytest.mark.parametrize("text", ["exit 1", "not a program"])
def test_another_compiler_is_tried(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("CC", f"{_script(tmp_path / 'cc', text)} -with -options")
    assert build.library.__wrapped__()


def test_a_folder_that_others_may_write_to_is_not_loaded_from(cache: Path) -> None:
    cache.mkdir(parents=True)
    cache.parent.chmod(0o700)
    cache.chmod(0o777)
    with pytest.raises(KernelsUnavailableError, match="open, to other users"):
        build.library.__wrapped__()


def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(KernelsUnavailableError, match="cannot be made: Not a directory"):
        build.library.__wrapped__()


def test_a_damaged_file_is_made_anew(cache: Path) -> None:
    made = build.cache_folder() / f"kernels-{build.fingerprint(build.find_compilers()[0])}.so"
    made.write_text("not a library")
    assert build.library.__wrapped__()
    assert made.stat().st_size > 1000


def test_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(KernelsUnavailableError, match="no home folder to keep them in; set XDG_CACHE_HOME"):
        build.library.__wrapped__()


def test_a_link_to_a_folder_is_not_loaded_from(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    cache.parent.mkdir(mode=0o700)
    cache.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KernelsUnavailableError, match="open, to other users"):
        build.library.__wrapped__()


def test_a_folder_without_room(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build.tempfile, "TemporaryDirectory", full)
    with pytest.raises(KernelsUnavailableError, match=r"cannot be written to .*: No space left on device"):
        build.library.__wrapped__()
