"""Making the kernels: what may be missing, and who may put code into the folder that they are loaded from."""

import os
import stat
from pathlib import Path

import pytest

from bildwerk.engine.cpu import build
from bildwerk.engine.cpu.build import KernelsUnavailableError

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="there are kernels for x86-64 alone")


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
    first = build.fingerprint(build.find_compiler())
    monkeypatch.setenv("CC", str(_script(tmp_path / "other-cc", "echo other 1.0")))
    assert build.fingerprint(build.find_compiler()) != first


def test_without_a_compiler(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(KernelsUnavailableError, match=r"no C compiler here .* install gcc"):
        build.library.__wrapped__()


def test_a_compiler_that_fails_says_why(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", str(_script(tmp_path / "cc", "echo cannot do this >&2; exit 1")))
    with pytest.raises(KernelsUnavailableError, match="cannot compile them: cannot do this"):
        build.library.__wrapped__()
    assert not list(cache.iterdir())


def test_a_folder_that_others_may_write_to_is_not_loaded_from(cache: Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    with pytest.raises(KernelsUnavailableError, match="open, to other users"):
        build.library.__wrapped__()


def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(KernelsUnavailableError, match="cannot be made: Not a directory"):
        build.library.__wrapped__()


def test_a_file_that_is_no_library_is_said_to_be_none(cache: Path) -> None:
    compiler = build.find_compiler()
    build.cache_folder()
    (cache / f"kernels-{build.fingerprint(compiler)}.so").write_text("not one")
    with pytest.raises(KernelsUnavailableError, match="cannot be loaded"):
        build.library.__wrapped__()
