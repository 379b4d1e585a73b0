"""What the service itself costs: HTTP, queue, database, files, the way to the worker; the engine does nothing.

The client runs on the same machine, from prepared bytes (`lean_client`), and says how much of a core it used. Limits
are lifted by settings. Pictures are 64x64, so that painting and compressing them does not count. Beside the numbers
stand this run's own fsync and a bare Starlette route, without which they mean nothing.

    python -m bench.service [--folder FOLDER] [--rounds 3] [--no-write]
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.circumstances import ROOT, circumstances
from bench.lean_client import Answer, Run, connect, exchange, request_bytes, require_status
from bildwerk.cli.machine import package_version
from bildwerk.domain.catalog import load_catalog
from bildwerk.engine.fake import FakeEngine
from bildwerk.engine.request import EngineSpec, GenerateRequest
from tests.live_service import LiveService, live_service, ready_url, stop

RESULT = ROOT / "bench" / "results" / "service.json"
SUBMIT_PATH, PREDICTION_PATH = "/api/v1/model/generateImage", "/api/v1/model/prediction"
PACKAGES = ("starlette", "uvicorn", "httptools", "sqlalchemy")
LIFTED = {
    "BILDWERK_LIMIT_SUBMITS_PER_MINUTE": "100000000",
    "BILDWERK_LIMIT_READS_PER_MINUTE": "100000000",
    "BILDWERK_LIMIT_QUEUED_PER_ACCOUNT": "1000000",
    "BILDWERK_LIMIT_QUEUED_IN_ALL": "1000000",
    "BILDWERK_SECONDS_DRAIN": "0.1",
}
CONNECTIONS = 64
SUBMITS, WHOLE, POLLS, BARE, SINGLE, FSYNCS = 2000, 500, 6000, 8000, 100, 200
LONG_STEP_SECONDS = "30"
ADDED_SECONDS, ADDED_FSYNCS = 0.005, 5
IDLE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `client_share` is the part of a core that the client used, where it matters."""

    goal: str
    what: str
    value: float
    unit: str
    limit: float | None = None
    at_most: bool = False
    client_share: float | None = None

    @property
    def is_met(self) -> bool | None:
        if self.limit is None:
            return None
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def __str__(self) -> str:
        sign = "<=" if self.at_most else ">="
        limit = "" if self.limit is None else f"{sign} {self.limit:g}"
        verdict = {None: "", True: "met", False: "MISSED"}[self.is_met]
        share = "" if self.client_share is None else f"client {self.client_share:4.0%} of a core"
        return f"{self.goal:4} {self.what:46} {self.value:9.1f} {self.unit:5} {limit:>9} {verdict:7} {share}".rstrip()


def measure_fsync(folder: Path) -> list[float]:
    """Seconds of each of many appends of a page that are made durable."""
    seconds = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(FSYNCS):
            file.write(b"x" * 4096)
            started = time.perf_counter()
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - started)
    return seconds


def measure_bare_route() -> Run:
    command = [sys.executable, "-m", "bench.bare_route"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        url = ready_url(process)
        return exchange(url, [request_bytes("GET", "/", host(url))] * BARE, CONNECTIONS).require(200)
    finally:
        stop(process)


def host(url: str) -> dict[str, str]:
    return {"Host": url.removeprefix("http://")}


def submit_bytes(service: LiveService, prompt: str, **values: Any) -> bytes:
    body = {"model": "bildwerk/flux-tiny", "prompt": prompt, "size": "64*64", **values}
    return request_bytes("POST", SUBMIT_PATH, host(service.url) | service.headers, json.dumps(body).encode())


def poll_bytes(service: LiveService, prediction_id: str) -> bytes:
    return request_bytes("GET", f"{PREDICTION_PATH}/{prediction_id}", host(service.url) | service.headers)


def submits(service: LiveService, count: int, connections: int = CONNECTIONS, **values: Any) -> Run:
    requests = [submit_bytes(service, f"a lake {number}", **values) for number in range(count)]
    return exchange(service.url, requests, connections).require(200)


def whole_predictions(service: LiveService, count: int, connections: int = CONNECTIONS) -> Run:
    """From the order to the stored file: each answer comes when its prediction has ended. Raises where one failed."""
    run = submits(service, count, connections, enable_sync_mode=True)
    require_completed(run.answers)
    return run


def require_completed(answers: Sequence[Answer]) -> None:
    require_status(answers, 200)
    statuses = {json.loads(answer.body)["data"]["status"] for answer in answers}
    if statuses != {"completed"}:
        raise SystemExit(f"predictions ended {statuses}, not all completed")


def single_predictions(service: LiveService) -> list[float]:
    """Seconds of each of many predictions that find the service idle, on one connection."""
    request = submit_bytes(service, "a lake", enable_sync_mode=True)
    connection, answers = connect(service.url), []
    with connection.socket:
        for _ in range(SINGLE):
            time.sleep(IDLE_SECONDS)
            answers.append(connection.ask(request))
    require_completed(answers)
    return [answer.seconds for answer in answers]


def engine_alone() -> list[float]:
    """Seconds of each of many pictures that the service's own engine paints and encodes, at the same pace, here."""
    spec = load_catalog()["bildwerk/flux-tiny"]
    engine = FakeEngine(EngineSpec(id=spec.id, folder=ROOT, **asdict(spec.engine)))  # it reads no files
    request = GenerateRequest(prompt="a lake", width=64, height=64, steps=spec.engine.default_steps, seed=1)
    seconds = []
    for _ in range(SINGLE):
        time.sleep(IDLE_SECONDS)
        started = time.perf_counter()
        list(engine.generate([request]))
        seconds.append(time.perf_counter() - started)
    return seconds


def polls(service: LiveService, ordered: Run) -> Run:
    """Of the last that was ordered."""
    prediction_id = json.loads(ordered.answers[-1].body)["data"]["id"]
    return exchange(service.url, [poll_bytes(service, prediction_id)] * POLLS, CONNECTIONS).require(200)


def with_service(folder: Path, *options: str) -> Any:
    """A service on an empty data folder in `folder`, with the settings and the log of every day but for its limits."""
    return live_service(Path(tempfile.mkdtemp(dir=folder)), *options, environment=LIFTED)


def measure_round(folder: Path) -> dict[str, Any]:
    fsync = measure_fsync(folder)
    bare = measure_bare_route()
    with with_service(folder, "--fake-step-seconds", LONG_STEP_SECONDS) as service:
        queued = submits(service, SUBMITS)
        polled_early = polls(service, queued)
    with with_service(folder) as service:
        whole_predictions(service, 20)
        single = single_predictions(service)
        engine = engine_alone()
        painted = submits(service, SUBMITS // 4)
        drain(service)
        whole = whole_predictions(service, WHOLE)
        polled = polls(service, whole)
    return {
        "fsync": fsync,
        "bare": bare,
        "queued": queued,
        "painted": painted,
        "whole": whole,
        "polled": polled,
        "polled early": polled_early,
        "single": single,
        "engine": engine,
    }


def drain(service: LiveService) -> None:
    """Wait until what was submitted is done: one account's predictions are served in order of arrival."""
    whole_predictions(service, 1)


def median(rounds: list[dict[str, Any]], of: Callable[[dict[str, Any]], float]) -> float:
    return statistics.median(of(each) for each in rounds)


def percentile(values: list[float], share: float) -> float:
    """The smallest of `values` that at least `share` of them do not exceed."""
    return sorted(values)[math.ceil(len(values) * share) - 1]


def table(rounds: list[dict[str, Any]]) -> list[Row]:
    """Medians over the rounds."""
    fsync = median(rounds, lambda each: statistics.median(each["fsync"]))
    allowed = 1000 * (ADDED_SECONDS + ADDED_FSYNCS * fsync)
    single, engine = partial(percentiles, rounds, "single"), partial(percentiles, rounds, "engine")
    return [
        Row("", "fsync of an appended page, median", 1000 * fsync, "ms"),
        Row("", "fsyncs, one after the other", 1 / fsync, "/s"),
        rate(rounds, "", "bare Starlette route", "bare"),
        rate(rounds, "G15", "submissions, queued behind a long picture", "queued", 250),
        rate(rounds, "", "submissions while pictures are made", "painted"),
        rate(rounds, "G15", "predictions end to end, with files", "whole", 50),
        rate(rounds, "G15", "polls of a waiting prediction, kept alive", "polled early", 1500),
        rate(rounds, "G15", "polls of a completed prediction, kept alive", "polled", 1500),
        Row("", "a prediction at idle, p50", single(0.5), "ms"),
        Row("", "a prediction at idle, p99", single(0.99), "ms"),
        Row("", "a prediction at idle, the slowest", single(1.0), "ms"),
        Row("", "the engine alone: painting and encoding, p50", engine(0.5), "ms"),
        Row("G9", "added at idle, p50", single(0.5) - engine(0.5), "ms", round(allowed, 1), at_most=True),
    ]


def percentiles(rounds: list[dict[str, Any]], name: str, share: float) -> float:
    """Milliseconds."""
    return 1000 * median(rounds, lambda each: percentile(each[name], share))


def rate(rounds: list[dict[str, Any]], goal: str, what: str, name: str, limit: float | None = None) -> Row:
    share = median(rounds, lambda each: each[name].client_share)
    return Row(goal, what, median(rounds, lambda each: each[name].per_second), "/s", limit, client_share=share)


def as_result(row: Row) -> dict[str, Any]:
    share = None if row.client_share is None else round(row.client_share, 2)
    return {**asdict(row), "value": round(row.value, 1), "client_share": share, "is_met": row.is_met}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the data folders are made; its disk is what is measured")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-write", action="store_true", help="print only")
    options = parser.parse_args()
    before = circumstances()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        rows = table([measure_round(Path(folder)) for _ in range(options.rounds)])
    print(*rows, sep="\n")
    if not options.no_write:
        write(before, options.rounds, rows)


def write(before: dict[str, Any], rounds: int, rows: list[Row]) -> None:
    versions = before["versions"] | {name: package_version(name) for name in PACKAGES}
    result = {
        "what": f"the service with an engine that does nothing, client on the same machine, medians of {rounds} rounds",
        **before,
        "versions": versions,
        "results": [as_result(row) for row in rows],
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written to {RESULT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
