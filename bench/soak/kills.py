"""The lane of kills: workers killed during a prediction, the service killed with a full queue, a worker that hangs.

Whatever was ordered is completed all the same, once, and no process outlives the service that started it.

    python -m bench.soak.kills [--workers 20] [--services 10] [--queued 50] [--hangs 3] [--minutes 10]
"""

import argparse
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.circumstances import circumstances
from bench.soak.record import finish
from bench.soak.recovery import LIFTED
from tests.faults.damage import QUICK, check, ended, eventually, is_running, is_worker, kill, status, submit, worker_pid
from tests.live_service import LiveService, live_service


class Lane:
    """Counts what was done and collects what was broken; `deadline` is a moment of the monotonic clock."""

    def __init__(self, folder: Path, deadline: float) -> None:
        self.folder = folder
        self.deadline = deadline
        self.breaches: list[str] = []
        self.completed = 0
        self.longest = 0.0

    def serve(self, name: str, step_seconds: float) -> Any:
        options = ("--fake-step-seconds", str(step_seconds))
        return live_service(self.folder / name, *options, environment={**QUICK, **LIFTED})

    def expect(self, is_so: bool, sentence: str) -> None:
        if not is_so:
            self.breaches.append(sentence)
            print(sentence, flush=True)

    def expect_completed(self, service: LiveService, prediction: str) -> None:
        answer = ended(service, prediction)
        self.expect(answer["status"] == "completed", f"{prediction} ended {answer}")
        self.completed += 1

    def expect_clean(self, service: LiveService) -> None:
        breaches = check(service)
        self.expect(not breaches, f"the books do not agree: {breaches}")

    def repeat(self, count: int, act: Callable[[int], None]) -> int:
        """How many of `count` were done in time."""
        for number in range(count):
            if time.monotonic() > self.deadline:
                return number
            act(number)
        return count


def harm_workers(lane: Lane, number: signal.Signals, times: int) -> int:
    """Kill or freeze the worker in the middle of a prediction, `times` times; how many were done."""
    with lane.serve(f"workers-{number.name}", 0.2) as service:
        done = lane.repeat(times, lambda _: harm_one_worker(lane, service, number))
        lane.expect_clean(service)
    return done


def harm_one_worker(lane: Lane, service: LiveService, number: signal.Signals) -> None:
    prediction = submit(service)
    eventually(lambda: is_running(service, prediction))
    harmed, started = worker_pid(service), time.monotonic()
    kill(harmed, number)
    lane.expect_completed(service, prediction)
    lane.longest = max(lane.longest, time.monotonic() - started)
    lane.expect(status(service, prediction) == ("succeeded", 2), f"{prediction} was not made by a second worker")
    lane.expect(not is_worker(harmed), f"the worker {harmed} lives on")


def kill_service(lane: Lane, queued: int) -> None:
    """With `queued` predictions on their way; the next life completes them."""
    with lane.serve("services", 0.1) as service:
        predictions = [submit(service) for _ in range(queued)]
        worker = worker_pid(service)
        eventually(lambda: any(is_running(service, each) for each in predictions))
        kill(service.process.pid)
        service.process.wait()
        eventually(lambda: not is_worker(worker))
    started = time.monotonic()
    with lane.serve("services", 0.0) as service:
        for prediction in predictions:
            lane.expect_completed(service, prediction)
        lane.longest = max(lane.longest, time.monotonic() - started)
        lane.expect_clean(service)


def run(lane: Lane, workers: int, services: int, queued: int, hangs: int) -> dict[str, Any]:
    started = time.monotonic()
    done = {
        "workers killed during a prediction": harm_workers(lane, signal.SIGKILL, workers),
        f"services killed with {queued} ordered": lane.repeat(services, lambda _: kill_service(lane, queued)),
        "workers frozen during a prediction": harm_workers(lane, signal.SIGSTOP, hangs),
    }
    return {
        **done,
        "completed": lane.completed,
        "longest recovery, seconds": round(lane.longest, 1),
        "breaches": lane.breaches,
        "broken": len(lane.breaches),
        "seconds": round(time.monotonic() - started, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=20)
    parser.add_argument("--services", type=int, default=10)
    parser.add_argument("--queued", type=int, default=50)
    parser.add_argument("--hangs", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    before = circumstances()
    with tempfile.TemporaryDirectory() as folder:
        lane = Lane(Path(folder), time.monotonic() + 60 * options.minutes)
        numbers = run(lane, options.workers, options.services, options.queued, options.hangs)
    finish("kills", "kills of workers and of the service, and hung workers", before, numbers)


if __name__ == "__main__":
    main()
