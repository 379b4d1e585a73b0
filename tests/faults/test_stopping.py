"""A server that is told to stop while clients wait: what was accepted is said to be, never answered with an error."""

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.faults.damage import eventually, kill, only_status
from tests.inline_service import GOOD, inline_service
from tests.live_service import LiveService, live_service

HASTY = {"BILDWERK_SECONDS_DRAIN": "0.2", "BILDWERK_SECONDS_POLL": "0.1"}
PATH = "/api/v1/model/generateImage"
WAITING = [({"enable_sync_mode": True}, {}), ({}, {"Prefer": "wait=60"})]


@pytest.mark.parametrize(("values", "headers"), WAITING, ids=["enable_sync_mode", "Prefer: wait"])
def test_who_waits_when_it_stops_is_told_what_was_accepted(
    values: dict[str, object], headers: dict[str, str], tmp_path: Path
):
    with (
        live_service(tmp_path / "data", "--fake-step-seconds", "30", environment=HASTY) as service,
        ThreadPoolExecutor(1) as threads,
    ):
        waiting = threads.submit(post, service, GOOD | values, headers)
        eventually(lambda: only_status(service) == "running")
        kill(service.process.pid, signal.SIGTERM)
        answer = waiting.result()
        assert answer.status_code == 200
        assert answer.json()["data"]["status"] == "processing"
        assert service.process.wait(60) == 0
        assert only_status(service) == "queued"


def test_an_event_stream_ends_whole_when_it_stops(tmp_path: Path):
    with live_service(tmp_path / "data", "--fake-step-seconds", "30", environment=HASTY) as service:
        url = post(service, GOOD, {}).json()["data"]["urls"]["events"]
        with requests.get(url, headers=service.headers, stream=True, timeout=60) as stream:
            lines = stream.iter_lines()
            next(lines)
            kill(service.process.pid, signal.SIGTERM)
            assert b'"status"' in b"".join(lines)  # raises where the stream was cut off
        assert service.process.wait(60) == 0


def test_who_asks_while_it_stops_need_not_wait(tmp_path: Path):
    with inline_service(tmp_path / "data", step_seconds=1.0) as service:
        url = service.client.post(PATH, json=GOOD, headers=service.headers).json()["data"]["urls"]["get"]
        service.service.context.hub.close()
        answer = service.client.get(f"{url}?wait=30", headers=service.headers)
        assert (answer.status_code, answer.json()["data"]["status"]) == (200, "processing")


def post(service: LiveService, body: dict[str, object], headers: dict[str, str]) -> requests.Response:
    return requests.post(f"{service.url}{PATH}", json=body, headers=service.headers | headers, timeout=60)
