"""Making the kernels: what may be missing, and who may put code into the folder that they are loaded from."""

import ctypes
import os
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


def test_they_are_kept_where_new_files_are_the_groups_too(cache: Path) -> None:
    before = os.umask(0o002)
    try:
        build.library.__wrapped__()
    finally:
        os.umask(before)
    [made] = cache.iterdir()
    kept = made.stat().st_ino
    build.library.__wrapped__()
    assert made.stat().st_ino == kept


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


def _foreign(cache: Path) -> Path:
    """Where the kernels would be kept, something that must never be loaded: it is no library."""
    cache.mkdir(parents=True, exist_ok=True)
    foreign = cache / f"kernels-{build.fingerprint(build.find_compilers()[0])}.so"
    foreign.write_text("foreign")
    return foreign


@pytest.fixture
def loaded_from(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whatever is given to the dynamic linker, in order."""
    names: list[str] = []
    load = ctypes.CDLL

    def noted(name: str) -> ctypes.CDLL:
        names.append(name)
        return load(name)

    monkeypatch.setattr(build.ctypes, "CDLL", noted)
    return names


def test_a_folder_that_others_may_write_to_is_not_loaded_from(
    cache: Path, loaded_from: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    foreign = _foreign(cache)
    cache.parent.chmod(0o700)
    cache.chmod(0o777)
    assert build.library.__wrapped__().bildwerk_multiplies_bfloat16() in (0, 1)
    [private] = loaded_from
    assert not private.startswith(str(cache))
    assert not Path(private).parent.exists()
    assert foreign.read_text() == "foreign"
    assert "open, to other users: the kernels are not kept there" in caplog.text


def test_a_private_folder_is_not_to_be_had(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _foreign(cache)
    cache.chmod(0o777)
    monkeypatch.setattr(build.tempfile, "tempdir", str(cache / "nowhere"))
    with pytest.raises(KernelsUnavailableError, match="no folder to make them in: No such file"):
        build.library.__wrapped__()


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_may_write_to_is_made_anew(cache: Path, loaded_from: list[str], mode: int) -> None:
    build.library.__wrapped__()
    [made] = cache.iterdir()
    before = made.stat().st_ino
    made.chmod(mode)
    build.library.__wrapped__()
    assert made.stat().st_ino != before
    assert stat.S_IMODE(made.stat().st_mode) & 0o022 == 0


def test_a_file_of_another_user_is_made_anew(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build.library.__wrapped__()
    [made] = cache.iterdir()
    before = made.stat().st_ino
    own, lstat = os.getuid(), Path.lstat

    def of_another(path: Path) -> os.stat_result:
        found = lstat(path)
        return os.stat_result((*found[:4], own + 1, *found[5:10])) if path == made else found

    monkeypatch.setattr(Path, "lstat", of_another)
    build.library.__wrapped__()
    assert made.stat().st_ino != before


def test_a_link_to_a_file_is_replaced(cache: Path, tmp_path: Path, loaded_from: list[str]) -> None:
    foreign = _foreign(cache)
    cache.parent.chmod(0o700)
    cache.chmod(0o700)
    foreign.rename(tmp_path / "elsewhere.so")
    foreign.symlink_to(tmp_path / "elsewhere.so")
    build.library.__wrapped__()
    assert not foreign.is_symlink()
    assert (tmp_path / "elsewhere.so").read_text() == "foreign"
    assert loaded_from == [str(foreign)]


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


def test_a_link_to_a_folder_is_not_loaded_from(cache: Path, tmp_path: Path, loaded_from: list[str]) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    cache.parent.mkdir(mode=0o700)
    cache.symlink_to(tmp_path / "elsewhere")
    build.library.__wrapped__()
    assert not any(name.startswith(str(cache)) for name in loaded_from)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_folder_without_room(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build.tempfile, "TemporaryDirectory", full)
    with pytest.raises(KernelsUnavailableError, match=r"cannot be written to .*: No space left on device"):
        build.library.__wrapped__()
