"""The kernels, made from their C once for this machine and kept: with whatever C compiler is there.

They are kept in a folder that only its owner may write to, under a name made of all that they depend on. Where somebody
else could have put code there, nothing of it is loaded: each process makes its own then, in a folder that is soon gone.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("kernels.c")
COMPILERS = ("gcc", "cc", "clang")
"""gcc first: its OpenMP is the one that torch has loaded, and two of them would fight over the cores."""
FLAGS = (
    "-O3",
    "-march=native",
    "-mprefer-vector-width=512",
    "-fopenmp",
    "-shared",
    "-fPIC",
    # Sums may be taken in any order; -ffast-math would also take NaN for impossible and set the whole process's mode.
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fassociative-math",
    "-fno-signed-zeros",
    "-freciprocal-math",
)
COMPILING_TIMEOUT_SECONDS = 120
FOLDER_VARIABLE = "XDG_CACHE_HOME"

log = logging.getLogger("bildwerk.engine")


class KernelsUnavailableError(Exception):
    """This machine cannot have the kernels; the text says why, in one sentence."""


class OpenToOthersError(Exception):
    """Another user could have put code there; the text says where."""


@cache
def library() -> ctypes.CDLL:
    """The compiled kernels. The first call on a machine takes some seconds. Raises `KernelsUnavailableError`."""
    require_platform()
    reasons = []
    for compiler in find_compilers():
        try:
            return _kept_or_made(f"kernels-{fingerprint(compiler)}.so", compiler)
        except KernelsUnavailableError as error:
            reasons.append(str(error))
    raise KernelsUnavailableError(reasons[0])


def _kept_or_made(name: str, compiler: list[str]) -> ctypes.CDLL:
    try:
        return _loaded(cache_folder() / name, compiler)
    except OpenToOthersError as error:
        log.warning("%s: the kernels are not kept there, and each start compiles them", error)
    try:
        with tempfile.TemporaryDirectory(prefix="bildwerk-kernels-") as private:  # mode 700, of this user
            return _loaded(Path(private) / name, compiler)
    except OSError as error:
        raise KernelsUnavailableError(f"there is no folder to make them in: {error.strerror}") from error


def _loaded(path: Path, compiler: list[str]) -> ctypes.CDLL:
    """What is kept there; or what is made anew, where that is missing, damaged, or not surely our own."""
    with suppress(OSError):
        if _is_own(path.lstat(), stat.S_ISREG):
            return ctypes.CDLL(str(path))
    compile_to(path, compiler)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise KernelsUnavailableError(f"the compiled kernels cannot be loaded: {error}") from error


def require_platform() -> None:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise KernelsUnavailableError(f"there are none for {sys.platform} on {platform.machine()} yet")


def find_compilers() -> list[list[str]]:
    """The commands that may compile C, the environment's own first. Raises `KernelsUnavailableError` for none."""
    named = shlex.split(os.environ.get("CC", ""))
    commands = [named] if named and shutil.which(named[0]) else []
    commands += [[path] for name in COMPILERS if (path := shutil.which(name))]
    if not commands:
        raise KernelsUnavailableError(f"there is no C compiler here (looked for {', '.join(COMPILERS)}): install gcc")
    return commands


def fingerprint(compiler: list[str]) -> str:
    """Of the source, the compiler and its flags, and the processor: its instructions are used without asking again."""
    version = _run([*compiler, "--version"], compiler).stdout
    parts = (SOURCE.read_bytes(), version, " ".join((*compiler, *FLAGS)).encode(), _processor())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]


def _run(command: list[str], compiler: list[str]) -> "subprocess.CompletedProcess[bytes]":
    try:
        return subprocess.run(command, check=True, capture_output=True, timeout=COMPILING_TIMEOUT_SECONDS)
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise KernelsUnavailableError(f"{compiler[0]} cannot compile them: {lines[0]}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KernelsUnavailableError(f"{compiler[0]} cannot compile them: {error}") from error


def _processor() -> bytes:
    """The first processor's model and flags."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().split(b"\n\n")[0].splitlines()
    except OSError:
        return platform.processor().encode()
    return b"\n".join(line for line in lines if line.startswith((b"model name", b"flags")))


def cache_folder() -> Path:
    """Made if it is missing. Raises `OpenToOthersError` where somebody else could put code into it."""
    try:
        folder = _cache_root() / "bildwerk" / "kernels"
        for each in (folder.parent, folder):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
            _require_own(each)
    except RuntimeError as error:
        raise KernelsUnavailableError(f"there is no home folder to keep them in; set {FOLDER_VARIABLE}") from error
    except OSError as error:
        raise KernelsUnavailableError(f"the folder {folder} for them cannot be made: {error.strerror}") from error
    return folder


def _cache_root() -> Path:
    """A relative path in the variable counts as none, as its specification says."""
    named = Path(os.environ.get(FOLDER_VARIABLE) or "")
    return named if named.is_absolute() else Path.home() / ".cache"


def _require_own(folder: Path) -> None:
    if not _is_own(folder.lstat(), stat.S_ISDIR):
        raise OpenToOthersError(f"the folder {folder} belongs, or is open, to other users")


def _is_own(status: os.stat_result, is_kind: Callable[[int], bool]) -> bool:
    """Of this kind itself, no link; of this user; and for nobody else to write to."""
    return is_kind(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022


def compile_to(path: Path, compiler: list[str]) -> None:
    """All of the file or none of it, whoever else does the same at the same time."""
    try:
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            made = Path(scratch) / path.name
            _run([*compiler, *FLAGS, str(SOURCE), "-o", str(made), "-lm"], compiler)
            made.chmod(0o700)  # whatever the umask is: what others may write to would not be loaded
            made.replace(path)
    except OSError as error:
        raise KernelsUnavailableError(f"they cannot be written to {path.parent}: {error.strerror}") from error
