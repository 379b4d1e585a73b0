"""The kernels, made from their C once for this machine and kept: with whatever C compiler is there.

They are kept in a folder that only its owner may write to, under a name made of all that they depend on.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("kernels.c")
COMPILERS = ("cc", "gcc", "clang")
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


class KernelsUnavailableError(Exception):
    """This machine cannot have the kernels; the text says why, in one sentence."""


@cache
def library() -> ctypes.CDLL:
    """The compiled kernels. The first call on a machine takes some seconds. Raises `KernelsUnavailableError`."""
    compiler = find_compiler()
    path = cache_folder() / f"kernels-{fingerprint(compiler)}.so"
    if not path.exists():
        compile_to(path, compiler)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise KernelsUnavailableError(f"the compiled kernels cannot be loaded: {error}") from error


def find_compiler() -> str:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise KernelsUnavailableError(f"there are none for {sys.platform} on {platform.machine()} yet")
    named = os.environ.get("CC", "").split()
    for name in (*named[:1], *COMPILERS):
        if found := shutil.which(name):
            return found
    raise KernelsUnavailableError(f"there is no C compiler here (looked for {', '.join(COMPILERS)}): install gcc")


def fingerprint(compiler: str) -> str:
    """Of the source, the compiler and its flags, and the processor: its instructions are used without asking again."""
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
    parts = (SOURCE.read_bytes(), compiler.encode(), version, " ".join(FLAGS).encode(), _processor())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]


def _processor() -> bytes:
    """The first processor's model and flags."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().split(b"\n\n")[0].splitlines()
    except OSError:
        return platform.processor().encode()
    return b"\n".join(line for line in lines if line.startswith((b"model name", b"flags")))


def cache_folder() -> Path:
    """Made if it is missing. Raises `KernelsUnavailableError` where somebody else could put code into it."""
    root = Path(os.environ.get(FOLDER_VARIABLE) or Path.home() / ".cache")
    folder = root / "bildwerk" / "kernels"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as error:
        raise KernelsUnavailableError(f"the folder {folder} for them cannot be made: {error.strerror}") from error
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise KernelsUnavailableError(f"the folder {folder} for them belongs, or is open, to other users")
    return folder


def compile_to(path: Path, compiler: str) -> None:
    """All of the file or none of it, whoever else does the same at the same time."""
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        made = Path(scratch) / path.name
        command = [compiler, *FLAGS, str(SOURCE), "-o", str(made), "-lm"]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=COMPILING_TIMEOUT_SECONDS)
        except subprocess.CalledProcessError as error:
            lines = error.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
            raise KernelsUnavailableError(f"{compiler} cannot compile them: {lines[0]}") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise KernelsUnavailableError(f"{compiler} cannot compile them: {error}") from error
        made.replace(path)
