"""One child process and the two pipes to it."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bildwerk.engine.frames import BrokenFrame, Frame, pack, receive_frame
from bildwerk.engine.request import ENGINE_ENVIRONMENT

COMMAND = (sys.executable, "-m", "bildwerk.engine.worker")
STREAM_LIMIT = 1 << 20

PASSED_ON = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "CC",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "XDG_CACHE_HOME",
)
PASSED_ON_PREFIXES = ("CUDA_", "NVIDIA_", "OMP_", "MKL_", "TORCH", "PYTORCH_", "TRITON_", "NCCL_")


class ChildDied(Exception):
    """The pipe has ended, or carries what is no frame."""


class ChildHung(Exception):
    """Nothing came for too long."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a child: the `load` frame's header, and for how many seconds loading may take."""

    load: dict[str, Any]
    load_seconds: float = 900.0


class Child:
    """A running process, ready for batches. `start` makes one."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @staticmethod
    async def start(launch: Launch, on_warming: Callable[[dict[str, Any]], None] = lambda _: None) -> "Child":
        """`on_warming` hears the headers of `warming` and `ready`, each of which may take as long as loading.

        Raises `ChildDied` or `ChildHung` when it does not become ready.
        """
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=child_environment(),
            start_new_session=True,
            limit=STREAM_LIMIT,
        )
        child = Child(process)
        try:
            await child.send(pack({"kind": "load", **launch.load}))
            while (frame := await child.receive(launch.load_seconds)).kind == "warming":
                on_warming(frame.header)
            if frame.kind != "ready":
                raise ChildDied(str(frame.header.get("message", "it did not load")))
            on_warming(frame.header)
        except BaseException:
            await child.kill()
            raise
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    async def send(self, frame: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(frame)
            await self._process.stdin.drain()
        except ConnectionError as error:
            raise ChildDied("its pipe is closed") from error

    async def receive(self, seconds: float) -> Frame:
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(seconds):
                return await receive_frame(self._process.stdout)
        except TimeoutError:
            raise ChildHung(f"it said nothing for {seconds:g} seconds") from None
        except asyncio.IncompleteReadError:
            raise ChildDied("its pipe has ended") from None
        except BrokenFrame as error:
            raise ChildDied(f"it sent {error}") from error

    async def wait(self) -> int:
        """The exit status, once it has ended; negative for a signal."""
        return await self._process.wait()

    async def kill(self) -> None:
        """End it and whatever it has started, and wait until it is gone."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()


def child_environment() -> dict[str, str]:
    """What the engine needs of our environment, and no credential that may be in it."""
    return ENGINE_ENVIRONMENT | {
        name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }
