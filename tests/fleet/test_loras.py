"""Predictions with LoRAs through the dispatcher and the real engine in its child process: each as if it were alone."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from io import BytesIO
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bildwerk.domain.catalog import load_catalog
from bildwerk.domain.prediction import Status
from bildwerk.engine.engine import FluxEngine
from bildwerk.engine.request import EngineSpec, GeneratedImage, GenerateRequest, LoraChoice
from bildwerk.fleet.child import Launch
from bildwerk.fleet.dispatcher import Dispatcher
from bildwerk.fleet.intake import Pace
from bildwerk.fleet.local import LocalReplica, Supervision
from bildwerk.fleet.records import Records
from bildwerk.jobs.engine_request import as_input, batch_key_text
from bildwerk.jobs.progress import ProgressHub
from bildwerk.store.database import Database
from bildwerk.weights.lora_place import LoraPlace
from tests.books import MODEL, PRICE, Books
from tests.lora_files import FLUX_TINY, random_lora

REQUEST = GenerateRequest("a lake at dawn", 64, 64, steps=2, seed=5)
CHOICES: tuple[tuple[LoraChoice, ...], ...] = (
    (LoraChoice("soft"),),
    (),
    (LoraChoice("night", 0.7),),
    (LoraChoice("soft", 0.5), LoraChoice("night", 0.5)),
    (),
    (LoraChoice("soft"),),
)


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineSpec:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for seed, name in enumerate(("soft", "night")):
        random_lora(tmp_path / "loras" / f"{name}.safetensors", seed)
    model = load_catalog()["bildwerk/flux-tiny"]
    return EngineSpec(id=model.id, folder=FLUX_TINY, loras_folder=tmp_path / "loras", **asdict(model.engine))


def dispatched(
    books: Books,
    folder: Path,
    spec: EngineSpec,
    test: Callable[[LocalReplica, Dispatcher], Awaitable[None]],
    max_images: int = 4,
) -> None:
    """Run `test` beside a dispatcher that has one child process, then drain it."""

    async def run() -> None:
        database = Database(folder / "books.db", is_guest=True)
        records = Records(database, books.files, ProgressHub(), lambda: books.now)
        paths = {"folder": str(spec.folder), "loras_folder": str(spec.loras_folder)}
        launch = Launch({"engine": "flux", "spec": {**asdict(spec), **paths}}, load_seconds=300)
        replica = LocalReplica("tiny", frozenset({MODEL}), max_images, launch, Supervision(step_seconds=300))
        dispatcher = Dispatcher(records, [replica], Pace(poll=0.02, heartbeat=0.05, drain=60.0))
        await dispatcher.start()
        await replica.wait_until_ready()
        await test(replica, dispatcher)
        await dispatcher.drain()
        database.close()

    asyncio.run(run())


async def ended(books: Books, predictions: list[str]) -> None:
    async with asyncio.timeout(120):
        while not all(books.status(each).is_terminal for each in predictions):
            await asyncio.sleep(0.02)


def submitted(books: Books, request: GenerateRequest) -> str:
    return books.submit(input=as_input(request), batch_key=batch_key_text(MODEL, request))


def difference(one: bytes, other: bytes) -> int:
    """The greatest of any pixel, in levels of 255."""
    pixels = [np.asarray(Image.open(BytesIO(data))).astype(int) for data in (one, other)]
    return int(np.abs(pixels[0] - pixels[1]).max())


def alone(spec: EngineSpec, request: GenerateRequest) -> bytes:
    events = FluxEngine.load(spec, device="cpu").generate([request])
    (found,) = [event.data for event in events if isinstance(event, GeneratedImage)]
    return found


@pytest.mark.parametrize(("max_images", "levels"), [(1, 0), (4, 1)])
def test_interleaved_predictions_equal_their_single_runs(
    books: Books, tmp_path: Path, spec: EngineSpec, max_images: int, levels: int
) -> None:
    """Bit for bit where each is computed alone; in a batch of two, sums are rounded otherwise."""
    requests = [replace(REQUEST, loras=chosen) for chosen in CHOICES]
    predictions = [submitted(books, request) for request in requests]

    async def test(_replica: LocalReplica, dispatcher: Dispatcher) -> None:
        dispatcher.wake()
        await ended(books, predictions)

    dispatched(books, tmp_path, spec, test, max_images)
    assert [books.prediction(each).error for each in predictions] == [""] * len(predictions)
    made = [books.files.get(books.prediction(each).outputs[0].object_key) for each in predictions]
    singles = {request.loras: alone(spec, request) for request in requests}
    for request, picture in zip(requests, made, strict=True):
        assert difference(picture, singles[request.loras]) <= levels
    different = list(singles.values())
    assert all(difference(one, other) > 20 for one, other in combinations(different, 2))
    assert len(different) == 4


def test_no_batch_holds_different_loras(books: Books) -> None:
    by_key: dict[str, set[str]] = {}
    for chosen in CHOICES:
        request = replace(REQUEST, loras=chosen)
        by_key.setdefault(batch_key_text(MODEL, request), set()).add(submitted(books, request))
    batches = []
    while jobs := books.claim(max_images=4):
        batches.append({job.claim.prediction_id for job in jobs})
        for job in jobs:
            books.succeed(job)
    assert sorted(map(sorted, batches)) == sorted(map(sorted, by_key.values()))
    assert sorted(map(len, batches)) == [1, 1, 2, 2]


def test_a_damaged_lora_fails_its_prediction_and_the_worker_lives(
    books: Books, tmp_path: Path, spec: EngineSpec
) -> None:
    assert spec.loras_folder is not None
    place = LoraPlace.named(spec.loras_folder, "soft")
    plain, soft = REQUEST, replace(REQUEST, loras=(replace(LoraChoice("soft"), version=place.version()),))
    unpinned = replace(REQUEST, loras=(LoraChoice("soft"),))
    before = books.prepaid()
    pids: list[int | None] = []

    async def test(replica: LocalReplica, dispatcher: Dispatcher) -> None:
        for request in (soft, plain):
            await run_one(dispatcher, request)
        os.truncate(place.folder / place.file_name, 1000)
        pids.append(replica.pid)
        for request in (soft, unpinned, plain):
            await run_one(dispatcher, request)
        pids.append(replica.pid)

    made: list[str] = []

    async def run_one(dispatcher: Dispatcher, request: GenerateRequest) -> None:
        made.append(submitted(books, request))
        dispatcher.wake()
        await ended(books, made)

    dispatched(books, tmp_path, spec, test)
    found = [books.prediction(each) for each in made]
    done, failed = Status.SUCCEEDED, Status.FAILED
    assert [each.status for each in found] == [done, done, failed, failed, done]
    assert [each.attempts for each in found] == [1] * 5
    assert found[2].error == "the LoRA soft was replaced after it was asked for: ask again"
    assert found[3].error.startswith("the LoRA soft claims a header of ")
    assert {each.error_code for each in found if each.status is failed} == {"invalid_input"}
    assert str(tmp_path) not in "".join(each.error for each in found)
    pictures = [books.files.get(found[index].outputs[0].object_key) for index in (1, 4)]
    assert pictures[0] == pictures[1]
    assert pids[0] == pids[1] is not None
    assert (before - books.prepaid(), books.held()) == (3 * PRICE, 0)
