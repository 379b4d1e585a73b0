"""Workers and the service itself are killed at random while clients submit, repeat and cancel.

Whatever was acknowledged ends, once, and is charged only if it was delivered. `BILDWERK_SOAK_PREDICTIONS` and
`BILDWERK_SOAK_KILLS` make a long run of it; `BILDWERK_SOAK_SEED` repeats one.
"""

import os
import random
from pathlib import Path

import requests

from tests.faults.damage import QUICK, check, ended, eventually, is_worker, kill
from tests.live_service import LiveService, live_service

PREDICTIONS = int(os.environ.get("BILDWERK_SOAK_PREDICTIONS", "24"))
KILLS = int(os.environ.get("BILDWERK_SOAK_KILLS", "4"))
SEED = int(os.environ.get("BILDWERK_SOAK_SEED", "1"))
MANY = {"BILDWERK_LIMIT_SUBMITS_PER_MINUTE": "1000000", "BILDWERK_LIMIT_QUEUED_PER_ACCOUNT": "1000000"}


class Client:
    """Sends under keys of its own, repeats what it got no answer to, and keeps a log of what was acknowledged."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.acknowledged: dict[str, str] = {}

    def submit(self, service: LiveService, key: str) -> None:
        body = {
            "model": "bildwerk/flux-tiny",
            "prompt": key,
            "size": "64*64",
            "num_images": self.chance.choice([1, 1, 3]),
        }
        for _ in range(self.chance.choice([1, 1, 2])):  # an answer that was lost: the same again
            answer = eventually(lambda: accepted(service, body, key))
            prediction = answer.json()["id"]
            assert self.acknowledged.setdefault(key, prediction) == prediction, "one key, two predictions"
        if self.chance.random() < 0.1:
            post(service, f"prediction/{prediction}/cancel", {}, key)


def accepted(service: LiveService, body: dict[str, object], key: str) -> requests.Response | None:
    """The answer, unless the service says that its worker has died too often and that one should come back."""
    answer = post(service, "generateImage", body, key)
    assert answer.status_code in (200, 503), answer.text
    return answer if answer.status_code == 200 else None


def post(service: LiveService, path: str, body: dict[str, object], key: str) -> requests.Response:
    headers = {**service.headers, "Idempotency-Key": key}
    return requests.post(f"{service.url}/api/v1/model/{path}", json=body, headers=headers, timeout=60)


def kill_a_worker(service: LiveService) -> None:
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()
    for pid in filter(is_worker, map(int, children)):
        kill(pid)


def test_nothing_acknowledged_is_lost_and_nothing_is_charged_twice(tmp_path: Path):
    chance = random.Random(SEED)
    client = Client(chance)
    keys = iter([f"key-{number}" for number in range(PREDICTIONS)])
    kills_at = set(chance.sample(range(PREDICTIONS), KILLS))
    for life in range(3):
        with live_service(tmp_path / "data", "--fake-step-seconds", "0.02", environment={**QUICK, **MANY}) as service:
            for number, key in zip(range(PREDICTIONS // 3), keys, strict=False):
                client.submit(service, key)
                if life * (PREDICTIONS // 3) + number in kills_at:
                    kill_a_worker(service)
            if life < 2:
                kill(service.process.pid)
                service.process.wait()
                continue
            outcomes = [ended(service, prediction)["status"] for prediction in client.acknowledged.values()]
            assert len(outcomes) == PREDICTIONS // 3 * 3
            assert outcomes.count("completed") > len(outcomes) // 2
            assert check(service) == []
