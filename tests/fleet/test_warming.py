"""A replica whose child takes its time to become warm, and one that finds itself not warm after all."""

import asyncio
import sys

import pytest
from structlog.testing import capture_logs

from bildwerk.engine.request import Event, GenerateRequest, Progress
from bildwerk.fleet import child
from bildwerk.fleet.child import Launch
from bildwerk.fleet.local import LocalReplica, Supervision
from bildwerk.jobs.workers import State

SLOWLY_WARM = """
import sys
from bildwerk.engine.frames import pack, read_frame
def say(**header):
    sys.stdout.buffer.write(pack(header)); sys.stdout.buffer.flush()
WARM = {"placement": "resident (bf16)", "speed": "compiled and recorded", "recorded": 5, "compiled": 0, "plain_runs": 0}
read_frame(sys.stdin.buffer)
say(kind="warming", bucket="1 x 512x512", done=1, total=2)
say(kind="warming", bucket="4 x 512x512", done=2, total=2)
say(kind="ready", warmth=WARM)
for compiled in (0, 2):
    read_frame(sys.stdin.buffer)
    say(kind="done", warmth={**WARM, "compiled": compiled})
read_frame(sys.stdin.buffer)
"""


def test_warming_is_logged_and_so_is_what_compiled_in_the_middle_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "COMMAND", (sys.executable, "-c", SLOWLY_WARM))

    async def run() -> None:
        replica = LocalReplica("slow", frozenset(), 4, Launch({}, load_seconds=60), Supervision())
        running = asyncio.create_task(replica.run())
        await replica.wait_until_ready()
        for _ in range(2):
            assert [event async for event in replica.generate([GenerateRequest("a lake", 64, 64, 4, 7)])] == []
        await replica.stop()
        await running

    with capture_logs() as logged:
        asyncio.run(run())
    warming = [(line["size"], line["done"], line["of"]) for line in logged if line["event"] == "worker warming up"]
    assert warming == [("1 x 512x512", 1, 2), ("4 x 512x512", 2, 2)]
    [ready] = [line for line in logged if line["event"] == "worker ready"]
    assert (ready["placement"], ready["recorded"]) == ("resident (bf16)", 5)
    [late] = [line for line in logged if line["event"] == "worker not warm for a batch"]
    assert (late["log_level"], late["compiled"]) == ("warning", 2)


TACITURN = """
import sys
from bildwerk.engine.frames import pack, read_frame
def say(**header):
    sys.stdout.buffer.write(pack(header)); sys.stdout.buffer.flush()
read_frame(sys.stdin.buffer)
say(kind="warming")
say(kind="warming", bucket="1 x 512x512", done=1)
say(kind="ready")
read_frame(sys.stdin.buffer)
"""


def test_a_child_that_tells_little_of_its_warming_is_used_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "COMMAND", (sys.executable, "-c", TACITURN))

    async def run() -> State:
        replica = LocalReplica("taciturn", frozenset(), 4, Launch({}, load_seconds=60), Supervision())
        running = asyncio.create_task(replica.run())
        async with asyncio.timeout(60):
            await replica.wait_until_ready()
        state = replica.health.state
        await replica.stop()
        await running
        return state

    with capture_logs() as logged:
        assert asyncio.run(run()) is State.READY
    warming = [(line["size"], line["done"], line["of"]) for line in logged if line["event"] == "worker warming up"]
    assert warming == [("?", "?", "?"), ("1 x 512x512", 1, "?")]


LOADING_ANEW = """
import sys, time
from bildwerk.engine.frames import event_frame, pack, read_frame
from bildwerk.engine.request import LOADING, Progress
def say(frame):
    sys.stdout.buffer.write(frame); sys.stdout.buffer.flush()
read_frame(sys.stdin.buffer)
say(pack({"kind": "ready", "warmth": {}}))
read_frame(sys.stdin.buffer)
say(event_frame(LOADING)); time.sleep(1.5)
say(event_frame(Progress("encode", 1, 1)))
say(pack({"kind": "done", "warmth": {}}))
read_frame(sys.stdin.buffer)
"""


def test_a_child_that_loads_its_model_anew_has_the_time_of_a_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """That time is no measure of how long such a batch is silent."""
    monkeypatch.setattr(child, "COMMAND", (sys.executable, "-c", LOADING_ANEW))
    learned = []

    async def run() -> list[Event]:
        replica = LocalReplica("full", frozenset(), 4, Launch({}, load_seconds=60), Supervision())
        monkeypatch.setattr(replica._silence, "allowed", lambda _: 0.5)
        monkeypatch.setattr(replica._silence, "learn", lambda _, longest: learned.append(longest))
        running = asyncio.create_task(replica.run())
        await replica.wait_until_ready()
        try:
            return [event async for event in replica.generate([GenerateRequest("a lake", 64, 64, 4, 7)])]
        finally:
            await replica.stop()
            await running

    assert asyncio.run(run()) == [Progress("encode", 1, 1)]
    assert max(learned) < 1.5
