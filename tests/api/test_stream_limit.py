"""The limit of event streams, asked for all at once."""

import asyncio
from pathlib import Path

import httpx

from bildwerk.api.events import MAX_STREAMS_PER_ACCOUNT
from tests.inline_service import GOOD, URL, InlineService, inline_service

BEYOND = 8


def test_streams_that_are_asked_for_at_once_are_counted_before_they_begin(tmp_path: Path):
    with inline_service(tmp_path / "data", step_seconds=0.5) as service:
        url = service.client.post("/api/v1/model/generateImage", json=GOOD, headers=service.headers).json()
        statuses = service.client.portal.call(ask_at_once, service, url["data"]["urls"]["events"])
        streams = service.service.context.hub.streams
        assert sorted(statuses) == [200] * MAX_STREAMS_PER_ACCOUNT + [429] * BEYOND
        assert streams.total() == 0


async def ask_at_once(service: InlineService, url: str) -> list[int]:
    transport = httpx.ASGITransport(service.service.app)
    async with httpx.AsyncClient(transport=transport, base_url=URL, headers=service.headers, timeout=60) as client:
        answers = await asyncio.gather(*(client.get(url) for _ in range(MAX_STREAMS_PER_ACCOUNT + BEYOND)))
    return [answer.status_code for answer in answers]
