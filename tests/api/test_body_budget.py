"""Large bodies share a room of fixed size: who finds it full is told to come back, and small requests never are."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from bildwerk.api.body_budget import UNCOUNTED_BYTES, BodyBudget
from bildwerk.domain.errors import Overloaded, TooLarge
from bildwerk.settings import Limits
from tests.inline_service import GOOD, URL, InlineService, inline_service

PATH = "/api/v1/model/generateImage"
ROOM = 1_000_000


@pytest.fixture
def service(tmp_path: Path) -> Iterator[InlineService]:
    with inline_service(tmp_path / "data", limits=replace(Limits(), body_bytes_in_flight=ROOM)) as running:
        yield running


def test_what_is_taken_is_given_back() -> None:
    budget = BodyBudget(100)
    with budget.share() as one, budget.share() as other:
        one.take(UNCOUNTED_BYTES)
        assert budget.left == 100
        one.take(70)
        other.take(UNCOUNTED_BYTES + 30)
        with pytest.raises(Overloaded):
            other.take(1)
        assert budget.left == 0
    assert budget.left == 100


def test_a_body_that_never_fits_is_not_told_to_come_back() -> None:
    budget = BodyBudget(100)
    with pytest.raises(TooLarge, match=f"larger than {UNCOUNTED_BYTES + 100} bytes"), budget.share() as share:
        share.take(UNCOUNTED_BYTES + 101)
    assert budget.left == 100


def test_who_finds_the_room_full_is_told_to_come_back_and_small_requests_are_not(service: InlineService) -> None:
    answers = asyncio.run(beside_a_large_body(service))
    large, small, afterwards = answers
    assert (large.status_code, large.json()["error"]["code"]) == (503, "overloaded")
    assert int(large.headers["Retry-After"]) > 0
    assert small.status_code == 200
    assert afterwards.status_code == 200
    assert service.service.context.bodies.left == ROOM


async def beside_a_large_body(service: InlineService) -> list[httpx.Response]:
    """The answers to a large and a small request beside one that stays half sent, and to a large one after it."""
    begun, is_over = asyncio.Event(), asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        yield b'{"image": "' + b"A" * 900_000
        begun.set()
        await is_over.wait()
        yield b'"}'

    body = json.dumps(GOOD | {"padding": "A" * 400_000}).encode()
    headers = service.headers | {"Content-Type": "application/json"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service.service.app), base_url=URL) as client:
        slow = asyncio.create_task(client.post(PATH, content=half(), headers=headers))
        await begun.wait()
        answers = [
            await client.post(PATH, content=body, headers=headers),
            await client.post(PATH, json=GOOD, headers=service.headers),
        ]
        is_over.set()
        assert (await slow).status_code == 400
        priced = await client.post("/api/v1/model/calculate", content=body, headers=headers)
    return [*answers, priced]


def test_uploads_take_their_part_and_give_it_back(service: InlineService) -> None:
    files = {"file": ("a.png", b"x" * (ROOM + UNCOUNTED_BYTES), "image/png")}
    answer = service.client.post("/api/v1/model/uploadMedia", files=files, headers=service.headers)
    assert answer.status_code == 413
    assert service.service.context.bodies.left == ROOM


def test_a_client_that_goes_away_gives_back_its_part(service: InlineService) -> None:
    async def gone() -> None:
        sent = [{"type": "http.request", "body": b"x" * 500_000, "more_body": True}, {"type": "http.disconnect"}]
        messages = iter(sent)
        head = {**service.headers, "host": "127.0.0.1", "content-type": "application/json"}
        raw = [(name.lower().encode(), value.encode()) for name, value in head.items()]
        scope = {"type": "http", "method": "POST", "path": PATH, "query_string": b"", "headers": raw}
        answered = []

        async def receive() -> dict[str, object]:
            return next(messages, sent[-1])

        async def send(message: dict[str, object]) -> None:
            answered.append(message)

        await service.service.app(scope, receive, send)  # type: ignore[arg-type]
        assert answered[0]["status"] == 408

    asyncio.run(gone())
    assert service.service.context.bodies.left == ROOM
