"""What a person reads who starts a service, orders a picture and ends it again: little, and all of it matters."""

import json
import re
import signal
import urllib.request
from pathlib import Path

from tests.cli.conftest import start_process

SUBMIT = "/api/v1/model/generateImage"
TIMEOUT = 120


def test_a_service_says_what_matters_and_no_more(tmp_path: Path) -> None:
    data = tmp_path / "data"
    process = start_process("serve", "--demo", "--engine", "fake", "--port", 0, "--data-dir", data)
    assert process.stdout is not None
    url = re.search(r"http://\S+", process.stdout.readline())
    assert url is not None
    key = (data / "initial-credentials").read_text().strip().partition("=")[2]
    body = json.dumps({"model": "bildwerk/flux-tiny", "prompt": "a lake", "enable_sync_mode": True}).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    for path, sent in (("/healthz", None), (SUBMIT, body), ("/api/v1/model/history", None)):
        request = urllib.request.Request(url[0] + path, sent, headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=TIMEOUT)
    first, *lines = err.splitlines()
    assert first == f"the first key is in {data / 'initial-credentials'}"
    events = [json.loads(line) for line in lines]
    said = [event["event"].partition(":")[0] for event in events]
    assert sorted(said) == ["demo", "request", "stopping", "worker ready", "worker stopped"]
    [ordered] = [event for event in events if event["event"] == "request"]
    assert (ordered["route"], ordered["status"]) == (SUBMIT, 200)
    assert {event["level"] for event in events} == {"info"}
