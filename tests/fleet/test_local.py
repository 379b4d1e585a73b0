"""A replica and its real child process: what it says, how it dies, and what it is told."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bildwerk.domain.prediction import FailureCode
from bildwerk.engine.request import Event, GeneratedImage, GenerateRequest, Progress
from bildwerk.fleet.child import Launch, child_environment
from bildwerk.fleet.fleet import ReplicaFailed
from bildwerk.fleet.local import LocalReplica, Supervision
from bildwerk.jobs.workers import State
from tests.inline_service import MODEL, tiny_spec

REQUEST = GenerateRequest("a lake", 64, 64, 4, 7, id="pred_1")
IMPATIENT = Supervision(step_seconds=2.0, deaths=2, first_pause=0.2)


@asynccontextmanager
async def replica(step_seconds: float = 0.0, supervision: Supervision = IMPATIENT) -> AsyncIterator[LocalReplica]:
    spec = {**asdict(tiny_spec()), "folder": str(Path())}
    launch = Launch({"engine": "fake", "spec": spec, "step_seconds": step_seconds}, load_seconds=60)
    made = LocalReplica("tiny", frozenset({MODEL}), 4, launch, supervision)
    running = asyncio.create_task(made.run())
    await made.wait_until_ready()
    try:
        yield made
    finally:
        await made.stop()
        await running


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


async def events(made: LocalReplica, *requests: GenerateRequest) -> list[Event]:
    return [event async for event in made.generate(requests or [REQUEST])]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


def test_steps_and_pictures_come_back_in_order():
    async def test() -> None:
        async with replica() as made:
            told = await events(made, REQUEST, replace(REQUEST, id="pred_2", num_images=2))
        steps = [event.done for event in told if isinstance(event, Progress) and event.stage == "denoise"]
        pictures = [(event.request_id, event.index) for event in told if isinstance(event, GeneratedImage)]
        assert steps == [1, 2, 3, 4]
        assert pictures == [("pred_1", 0), ("pred_2", 0), ("pred_2", 1)]

    run(test)


def test_a_canceled_request_gets_no_picture_and_the_others_do():
    async def test() -> None:
        async with replica(step_seconds=0.1) as made:
            stream = made.generate([REQUEST, replace(REQUEST, id="pred_2")])
            told = [await anext(stream)]
            await made.cancel(["pred_1"])
            told += [event async for event in stream]
        assert [event.request_id for event in told if isinstance(event, GeneratedImage)] == ["pred_2"]

    run(test)


def test_a_request_that_was_canceled_once_is_made_when_it_is_asked_for_again():
    async def test() -> None:
        async with replica(step_seconds=0.1) as made:
            stream = made.generate([REQUEST])
            told = [await anext(stream)]
            await made.cancel(["pred_1"])
            told += [event async for event in stream]
            again = await events(made, REQUEST)
        assert not any(isinstance(event, GeneratedImage) for event in told)
        assert any(isinstance(event, GeneratedImage) for event in again)

    run(test)


def test_an_impossible_request_is_the_callers_fault_and_the_child_lives_on():
    async def test() -> None:
        async with replica() as made:
            pid = made.pid
            with pytest.raises(ReplicaFailed) as failure:
                await events(made, replace(REQUEST, steps=0))
            assert failure.value.code is FailureCode.INVALID_INPUT
            assert len(await events(made)) > 0
            assert made.pid == pid

    run(test)


@pytest.mark.parametrize(
    ("harm", "code"), [(signal.SIGKILL, FailureCode.WORKER_LOST), (signal.SIGSTOP, FailureCode.RUN_TIMEOUT)]
)
def test_a_dead_and_a_frozen_child_are_told_apart_and_replaced(harm: signal.Signals, code: FailureCode):
    async def test() -> None:
        async with replica(step_seconds=0.2) as made:
            stream, first = made.generate([REQUEST]), made.pid
            await anext(stream)
            assert first is not None
            os.kill(first, harm)
            with pytest.raises(ReplicaFailed) as failure:
                async for _ in stream:
                    pass
            assert failure.value.code is code
            await until(lambda: made.pid not in (None, first))
            assert len(await events(made)) > 0

    run(test)


def test_deaths_without_a_success_between_them_make_it_pause_and_then_try_again():
    async def test() -> None:
        async with replica() as made:
            for _ in range(2):
                await made.wait_until_ready()
                assert made.pid is not None
                os.kill(made.pid, signal.SIGKILL)
                await until(lambda: made.health.state is not State.READY)
            await until(lambda: made.health.state is State.UNHEALTHY)
            assert "2 times" in made.health.reason
            await until(lambda: made.health.state is State.READY)

    run(test)


def test_a_success_between_deaths_clears_them():
    async def test() -> None:
        async with replica() as made:
            for _ in range(3):
                await made.wait_until_ready()
                await events(made)
                assert made.pid is not None
                os.kill(made.pid, signal.SIGKILL)
                await until(lambda: made.health.state is not State.READY)
                assert made.health.state is State.STARTING

    run(test)


def test_closing_the_events_early_ends_the_child():
    async def test() -> None:
        async with replica(step_seconds=0.2) as made:
            stream, first = made.generate([REQUEST]), made.pid
            await anext(stream)
            await stream.aclose()
            await until(lambda: made.pid not in (None, first))

    run(test)


def test_no_credential_reaches_the_child(monkeypatch: pytest.MonkeyPatch):
    for name in ("ATLASCLOUD_API_KEY", "DATABASE_URL", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "BILDWERK_DATA_DIR"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    environment = child_environment()
    assert "secret" not in environment.values()
    assert environment["CUDA_VISIBLE_DEVICES"] == "1"


def test_the_childs_threads_sleep_while_they_wait_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert child_environment()["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert child_environment()["OMP_WAIT_POLICY"] == "ACTIVE"
