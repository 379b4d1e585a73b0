"""Processes that are killed and frozen: nothing accepted is lost, and nothing that failed is charged."""

import signal
import subprocess
import sys
from pathlib import Path

import requests

from tests.faults.damage import (
    QUICK,
    check,
    ended,
    eventually,
    is_running,
    is_worker,
    kill,
    status,
    submit,
    worker_pid,
)
from tests.live_service import REPOSITORY, live_service


def test_a_prediction_survives_the_death_of_its_worker(tmp_path: Path):
    with live_service(tmp_path / "data", "--fake-step-seconds", "0.5", environment=QUICK) as service:
        prediction = submit(service)
        eventually(lambda: is_running(service, prediction))
        kill(worker_pid(service))
        assert ended(service, prediction)["status"] == "completed"
        assert status(service, prediction) == ("succeeded", 2)
        assert check(service) == []


def test_a_frozen_worker_is_killed_and_its_prediction_made_by_another(tmp_path: Path):
    with live_service(tmp_path / "data", "--fake-step-seconds", "0.5", environment=QUICK) as service:
        prediction = submit(service)
        eventually(lambda: is_running(service, prediction))
        frozen = worker_pid(service)
        kill(frozen, signal.SIGSTOP)
        assert ended(service, prediction)["status"] == "completed"
        assert not is_worker(frozen)
        assert status(service, prediction) == ("succeeded", 2)
        assert check(service) == []


def test_a_prediction_that_loses_three_workers_fails_free_of_charge(tmp_path: Path):
    with live_service(tmp_path / "data", "--fake-step-seconds", "2", environment=QUICK) as service:
        prediction = submit(service)
        for attempt in (1, 2, 3):
            eventually(lambda attempt=attempt: status(service, prediction) == ("running", attempt))
            kill(worker_pid(service))
        answer = ended(service, prediction)
        assert (answer["status"], answer["error_code"], answer["price"]) == ("failed", 2002, "0")
        ready = eventually(lambda: unhealthy(service.url))
        assert "3 times" in ready["reasons"][0]
        refused = requests.post(
            f"{service.url}/api/v1/model/generateImage",
            json={"model": "bildwerk/flux-tiny", "prompt": "a lake"},
            headers=service.headers,
            timeout=30,
        )
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert check(service) == []


def unhealthy(url: str) -> dict[str, list[str]] | None:
    answer = requests.get(f"{url}/readyz", timeout=30)
    body: dict[str, list[str]] = answer.json()
    return body if answer.status_code == 503 and "unhealthy" in str(body["workers"]) else None


def test_a_killed_service_loses_nothing_and_leaves_no_process(tmp_path: Path):
    with live_service(tmp_path / "data", "--fake-step-seconds", "0.2", environment=QUICK) as service:
        predictions = [submit(service) for _ in range(6)]
        eventually(lambda: is_running(service, predictions[0]))
        worker = worker_pid(service)
        kill(service.process.pid)
        service.process.wait()
        eventually(lambda: not is_worker(worker))
    with live_service(tmp_path / "data", environment=QUICK) as service:
        assert {ended(service, prediction)["status"] for prediction in predictions} == {"completed"}
        assert check(service) == []


def test_a_stopped_service_gives_back_what_it_cannot_finish(tmp_path: Path):
    impatient = {**QUICK, "BILDWERK_SECONDS_DRAIN": "0.2"}
    with live_service(tmp_path / "data", "--fake-step-seconds", "1.5", environment=impatient) as service:
        prediction = submit(service)
        eventually(lambda: is_running(service, prediction))
        kill(service.process.pid, signal.SIGTERM)
        assert service.process.wait(60) == 0
        assert status(service, prediction) == ("queued", 0)
    with live_service(tmp_path / "data", environment=QUICK) as service:
        assert ended(service, prediction)["status"] == "completed"
        assert check(service) == []


def test_a_stopped_service_finishes_what_it_can(tmp_path: Path):
    with live_service(tmp_path / "data", "--fake-step-seconds", "0.3", environment=QUICK) as service:
        prediction = submit(service)
        eventually(lambda: is_running(service, prediction))
        kill(service.process.pid, signal.SIGTERM)
        assert service.process.wait(60) == 0
        assert status(service, prediction) == ("succeeded", 1)
        assert check(service) == []


def test_a_second_server_on_the_same_data_leaves_at_once(tmp_path: Path):
    with live_service(tmp_path / "data", environment=QUICK) as service:
        command = [sys.executable, "-m", "bildwerk", "serve", "--port", "0", "--engine", "fake"]
        second = subprocess.run(
            [*command, "--data-dir", str(service.data_dir)], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        assert second.returncode == 1
        assert second.stdout == ""
        assert f"another server (process {service.process.pid})" in second.stderr
