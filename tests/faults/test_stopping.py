"""A server that is told to stop while clients wait: what was accepted is said to be, never answered with an error."""

import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.faults.damage import eventually, is_running, kill, only_status, status, submit, worker_pid
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


def test_a_second_signal_gives_back_with_the_attempt_however_long_that_takes(tmp_path: Path):
    often = {"BILDWERK_SECONDS_POLL": "0.1"}
    with live_service(tmp_path / "data", "--fake-step-seconds", "30", environment=often) as service:
        prediction = submit(service)
        eventually(lambda: is_running(service, prediction))
        with half_sent(service), locked(service):
            time.sleep(0.5)  # until a look at the clock waits to be written, before what is to be given back
            kill(service.process.pid, signal.SIGTERM)
            eventually(lambda: "stopping" in service.log)
            kill(service.process.pid, signal.SIGTERM)
            time.sleep(1.0)  # longer than a server takes to end that waits for nothing
        assert service.process.wait(60) == 0
        assert status(service, prediction) == ("queued", 0)


def test_a_signal_to_every_process_lets_what_has_begun_be_finished(tmp_path: Path):
    """As a process manager sends it that stops a whole control group."""
    with live_service(tmp_path / "data", "--fake-step-seconds", "0.3") as service:
        prediction = submit(service)
        eventually(lambda: is_running(service, prediction))
        for pid in (worker_pid(service), service.process.pid):
            kill(pid, signal.SIGTERM)
        assert service.process.wait(60) == 0
        assert status(service, prediction) == ("succeeded", 1)


@contextmanager
def half_sent(service: LiveService) -> Iterator[None]:
    """A request that the server waits for, and does not end without."""
    where = urlsplit(service.url)
    with socket.create_connection((str(where.hostname), int(where.port or 0))) as connection:
        head = f"POST {PATH} HTTP/1.1\r\nHost: {where.netloc}\r\nAuthorization: Bearer {service.key}\r\n"
        kind = "Content-Type: application/json\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n"
        connection.sendall((head + kind).encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100")
        yield


@contextmanager
def locked(service: LiveService) -> Iterator[None]:
    """The database, so that whoever writes to it waits."""
    with closing(sqlite3.connect(service.data_dir / "bildwerk.db", timeout=30, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")


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
