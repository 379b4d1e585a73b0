"""Measure the engine on a GPU, stage by stage, beside its peers and its floor.

    python -m bench.gpu_suite --stage all --deadline 540 --out out/gpu
    python -m bench.gpu_suite --report --out out/gpu

A stage that is done is not run again, and one that would not fit before the deadline, with what it has to compile, is
not begun, so the same command goes on where the last one stopped.  One that all the same is not over half a minute
after the deadline is cut off: the results of the others are in the file by then.  `--tiny --device cpu` walks through
all of it on any machine.
"""

import argparse
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.gpu.record import BEGUN, NotHereError, Numbers, Record, surroundings
from bench.gpu.report import markdown
from bench.gpu.stages import batches, bf16, blocks, ceilings, eager, fp8, parity, peers, placements, resolutions
from bench.gpu.workbench import Warm, Workbench
from bildwerk.engine.precision import Precision

TINY_ROUNDS, ROUNDS = 2, 10
DEADLINE, GRACE = 540.0, 30.0
NETWORKS_SECONDS = 20.0
"""To import, to make 34 GB of random weights, and to try each kernel for attention."""
FIRST_WARM_UP_SECONDS, NEXT_WARM_UP_SECONDS = 100.0, 50.0
"""To compile and record for the first shape of a precision, and for another one."""

BF16, FP8 = Precision.BF16, Precision.FP8
USUAL, HALF = Warm(BF16), Warm(BF16, side=(0.5, 0.5))


@dataclass(frozen=True, slots=True)
class Stage:
    """`seconds`: about what it takes on an H200, beside making the networks and what it needs `warm`, where that has
    not been done in this process."""

    name: str
    run: Callable[[Workbench], Numbers]
    seconds: float
    warm: tuple[Warm, ...] = ()

    def expected(self, bench: Workbench) -> float:
        """Seconds, if it is begun now."""
        made, lacking = bench.precisions_made, [shape for shape in self.warm if not bench.is_warm(shape)]
        first = {shape.precision for shape in lacking} - made
        return (
            self.seconds
            + (0.0 if bench.has_networks else NETWORKS_SECONDS)
            + len(first) * FIRST_WARM_UP_SECONDS
            + (len(lacking) - len(first)) * NEXT_WARM_UP_SECONDS
        )


STAGES = (
    Stage("ceilings", ceilings.run, 30),
    Stage("eager", eager.run, 30),
    Stage("bf16", bf16.run, 40, (USUAL,)),
    Stage("parity", parity.run, 60, (HALF, Warm(FP8, side=(0.5, 0.5)))),
    Stage("peers", peers.run, 240, (USUAL,)),
    Stage("fp8", fp8.run, 40, (USUAL, Warm(FP8))),
    Stage("batches", batches.run, 60, tuple(Warm(BF16, size, (0.5, 0.5)) for size in batches.SIZES)),
    Stage("resolutions", resolutions.run, 60, tuple(Warm(BF16, side=side) for side in resolutions.SIZES)),
    Stage("placements", placements.run, 150),
    Stage("blocks", blocks.run, 200),
)
BY_NAME = {stage.name: stage for stage in STAGES}


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    record = Record.read(asked.out, asked.previous)
    if not asked.report:
        rounds = asked.rounds or (TINY_ROUNDS if asked.tiny else ROUNDS)
        bench = Workbench.of(asked.device, asked.tiny, record, rounds, asked.mode)
        wanted = [stage for stage in STAGES if stage.name in asked.stage or "all" in asked.stage]
        with _cut_off(bench, asked.deadline + GRACE):
            _run_all(wanted, bench, time.monotonic() + asked.deadline, again=asked.again)
    print(markdown(record))
    return int(any(entry["status"] in ("failed", BEGUN) for entry in record.stages.values()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gpu_suite", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--stage", nargs="+", default=["all"], choices=[*BY_NAME, "all"])
    parser.add_argument(
        "--deadline", type=float, default=DEADLINE, help=f"seconds that all must fit in; {GRACE:g} later it ends"
    )
    parser.add_argument("--out", type=Path, default=Path("out/gpu"), help="folder of the results")
    parser.add_argument("--previous", type=Path, help="results of an earlier run, to go on from")
    parser.add_argument("--again", action="store_true", help="run stages that are done already")
    parser.add_argument("--report", action="store_true", help="only print the table of what was measured")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="networks of toy size")
    parser.add_argument("--rounds", type=int, help=f"of each measurement; {ROUNDS}, or {TINY_ROUNDS} where tiny")
    parser.add_argument("--mode", help="of the compiler, for us and the peers alike: max-autotune-no-cudagraphs")
    return parser


def _run_all(wanted: Sequence[Stage], bench: Workbench, deadline: float, *, again: bool) -> None:
    for stage in wanted:
        left = deadline - time.monotonic()
        if bench.record.is_done(stage.name) and not again:
            _say(f"{stage.name}: done before")
        elif left < stage.expected(bench) and bench.device.type == "cuda":
            _say(f"{stage.name}: needs about {stage.expected(bench):.0f} s, and {left:.0f} s are left")
        else:
            _run(stage, bench)


def _run(stage: Stage, bench: Workbench) -> None:
    """Whatever goes wrong in a stage is its result; the others go on."""
    _say(f"{stage.name}: begins")
    start = time.monotonic()
    bench.record.begin(stage.name)
    try:
        entry: Numbers = {"status": "done", "numbers": stage.run(bench)}
    except NotHereError as reason:
        entry = {"status": "skipped", "reason": str(reason)}
    except Exception as error:  # a stage may meet anything, from a missing kernel to a full memory
        entry = {
            "status": "failed",
            "reason": f"{type(error).__name__}: {error}"[:300],
            "trace": traceback.format_exc(),
        }
    seconds = round(time.monotonic() - start, 1)
    facts = surroundings(bench.device, "tiny" if bench.tiny else "real")
    bench.record.write(stage.name, entry | {"seconds": seconds} | facts)
    _say(f"{stage.name}: {entry['status']} after {seconds} s {entry.get('reason', '')}")


@contextmanager
def _cut_off(bench: Workbench, seconds: float) -> Iterator[None]:
    """Ends the process after so long, be it deep inside a compiler, with what is known in the file and printed, as far
    as that can be done: a full disk or a closed pipe does not keep it alive."""

    def end() -> None:
        try:
            bench.record.give_up(f"cut off after {seconds:g} s in all")
            print(markdown(bench.record), flush=True)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _say(what: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
