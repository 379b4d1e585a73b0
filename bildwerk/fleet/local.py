"""A replica on this machine: one supervised child process for one device.

A child that dies is started again; one that says nothing for too long is killed. Three deaths in five minutes without
a finished batch between them make the replica unhealthy: it pauses, longer each time, instead of eating the queue.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from bildwerk.domain.prediction import FailureCode
from bildwerk.engine.frames import BrokenFrame, Frame, batch_frame, frame_event, pack
from bildwerk.engine.request import LOADING, Event, GenerateRequest
from bildwerk.fleet.child import Child, ChildDied, ChildHung, Launch
from bildwerk.fleet.fleet import ReplicaFailed
from bildwerk.fleet.silence import Silence
from bildwerk.jobs.workers import Health, State

log = structlog.get_logger("bildwerk.fleet")


@dataclass(frozen=True, slots=True)
class Supervision:
    """A child may always be silent for `step_seconds`; `deaths` within `death_window` seconds make it unhealthy."""

    step_seconds: float = 60.0
    deaths: int = 3
    death_window: float = 300.0
    first_pause: float = 30.0
    longest_pause: float = 300.0


class LocalReplica:
    def __init__(
        self, name: str, models: frozenset[str], max_images: int, launch: Launch, supervision: Supervision
    ) -> None:
        self.name = name
        self.models = models
        self.max_images = max_images
        self._launch = launch
        self._supervision = supervision
        self._silence = Silence(supervision.step_seconds)
        self._child: Child | None = None
        self._ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._state = State.STARTING
        self._reason = ""
        self._deaths: list[float] = []
        self._warmth: dict[str, Any] = {}
        self._pause = supervision.first_pause

    @property
    def health(self) -> Health:
        return Health(self.name, self._state, self.models, self._reason)

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    async def run(self) -> None:
        while not self._stopping.is_set():
            await self._live_once()
            if not self._stopping.is_set():
                await self._mourn()
        self._state = State.STOPPED

    async def wait_until_ready(self) -> None:
        await self._ready.wait()

    async def generate(self, requests: Sequence[GenerateRequest]) -> AsyncGenerator[Event, None]:
        child = self._child
        if child is None:
            raise ReplicaFailed(FailureCode.WORKER_LOST, "the worker was lost")
        is_over = False
        allowed, longest, is_loading = self._silence.allowed(requests), 0.0, False
        try:
            await child.send(batch_frame(list(requests)))
            said_at = time.monotonic()
            while (frame := await child.receive(self._launch.load_seconds if is_loading else allowed)).kind != "done":
                longest = longest if is_loading else max(longest, time.monotonic() - said_at)
                is_over = frame.kind == "error"
                event = read_event(frame)
                if not (is_loading := event == LOADING):
                    yield event
                said_at = time.monotonic()
            is_over = True
            self._note_warmth(frame.header)
            self._silence.learn(requests, longest)
            self._note_success()
        except ChildHung as error:
            raise ReplicaFailed(FailureCode.RUN_TIMEOUT, f"the worker was ended: {error}") from error
        except (ChildDied, BrokenFrame) as error:
            raise ReplicaFailed(FailureCode.WORKER_LOST, "the worker was lost") from error
        finally:
            if not is_over:
                await child.kill()

    async def cancel(self, request_ids: Sequence[str]) -> None:
        if self._child is not None:
            with suppress(ChildDied):
                await self._child.send(pack({"kind": "cancel", "ids": list(request_ids)}))

    async def stop(self) -> None:
        self._stopping.set()
        self._ready.clear()
        if self._child is not None:
            await self._child.kill()

    async def _live_once(self) -> None:
        """Start a child and return when it has ended."""
        try:
            self._child = await Child.start(self._launch, self._note_warming)
        except (ChildDied, ChildHung) as error:
            self._reason = f"it did not start: {error}"
            log.error("worker did not start", worker=self.name, reason=str(error))
            return
        if self._stopping.is_set():
            await self._child.kill()
            return
        self._state, self._reason = State.READY, ""
        self._ready.set()
        log.info("worker ready", worker=self.name, pid=self._child.pid, **self._warmth)
        status = await self._child.wait()
        self._ready.clear()
        self._child = None
        self._state = State.STARTING
        if self._stopping.is_set():
            log.info("worker stopped", worker=self.name)
        else:
            log.warning("worker ended", worker=self.name, status=status)

    async def _mourn(self) -> None:
        """Count a death; after too many of them, pause."""
        now = time.monotonic()
        limits = self._supervision
        self._deaths = [*(death for death in self._deaths if now - death < limits.death_window), now]
        if len(self._deaths) < limits.deaths:
            return
        self._state = State.UNHEALTHY
        times = f"its process has ended {len(self._deaths)} times within {limits.death_window:g} seconds"
        self._reason = f"{times}; {self._reason}" if self._reason else times
        log.error("worker unhealthy", worker=self.name, reason=self._reason, pause_seconds=self._pause)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pause):
                await self._stopping.wait()
        self._pause = min(self._pause * 2, limits.longest_pause)

    def _note_warming(self, header: dict[str, Any]) -> None:
        """One size more is warm, or the child is ready. What a child does not tell is no reason to do without it."""
        if header["kind"] == "ready":
            self._warmth = dict(header.get("warmth", {}))
            return
        size, done, total = (header.get(name, "?") for name in ("bucket", "done", "total"))
        self._reason = f"warming up: {done} of {total} sizes"
        log.info("worker warming up", worker=self.name, size=size, done=done, of=total)

    def _note_warmth(self, header: dict[str, Any]) -> None:
        """What was compiled in the middle of a batch made somebody wait, and so does a model that had to give way."""
        before, self._warmth = self._warmth, dict(header.get("warmth", {}))
        if self._warmth != before:
            slow = any(self._warmth.get(name) != before.get(name) for name in ("compiled", "placement", "speed"))
            (log.warning if slow else log.info)("worker not warm for a batch", worker=self.name, **self._warmth)

    def _note_success(self) -> None:
        self._deaths.clear()
        self._pause = self._supervision.first_pause


def read_event(frame: Frame) -> Event:
    """The event of a frame. Raises `ReplicaFailed` for an `error` frame, and `BrokenFrame`."""
    if frame.kind != "error":
        return frame_event(frame)
    try:
        code = FailureCode(frame.header["code"])
    except (KeyError, ValueError) as error:
        raise BrokenFrame("an error frame without a known code") from error
    raise ReplicaFailed(code, str(frame.header.get("message", "")))
