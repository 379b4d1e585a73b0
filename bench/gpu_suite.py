"""Measure the engine on a GPU, stage by stage, beside its peers and its floor.

    python -m bench.gpu_suite --stage all --deadline 560 --out out/gpu
    python -m bench.gpu_suite --report --out out/gpu

A stage that is done is not run again, and one that would not fit before the deadline is not begun, so the same
command goes on where the last one stopped.  `--tiny --device cpu` walks through all of it on any machine.
"""

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.gpu.record import NotHereError, Numbers, Record, surroundings
from bench.gpu.report import markdown
from bench.gpu.stages import batches, bf16, blocks, ceilings, eager, fp8, parity, peers, placements, resolutions
from bench.gpu.workbench import Workbench

TINY_ROUNDS, ROUNDS = 2, 10


@dataclass(frozen=True, slots=True)
class Stage:
    """`seconds`: about what it takes on an H200, the networks and what is compiled before it not counted."""

    name: str
    run: Callable[[Workbench], Numbers]
    seconds: float


STAGES = (
    Stage("ceilings", ceilings.run, 30),
    Stage("eager", eager.run, 45),
    Stage("bf16", bf16.run, 90),
    Stage("parity", parity.run, 100),
    Stage("peers", peers.run, 240),
    Stage("fp8", fp8.run, 90),
    Stage("batches", batches.run, 120),
    Stage("resolutions", resolutions.run, 110),
    Stage("placements", placements.run, 120),
    Stage("blocks", blocks.run, 100),
)
BY_NAME = {stage.name: stage for stage in STAGES}


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    record = Record.read(asked.out, asked.previous)
    if not asked.report:
        rounds = asked.rounds or (TINY_ROUNDS if asked.tiny else ROUNDS)
        bench = Workbench.of(asked.device, asked.tiny, record, rounds, asked.mode)
        wanted = [stage for stage in STAGES if stage.name in asked.stage or "all" in asked.stage]
        _run_all(wanted, bench, time.monotonic() + asked.deadline, again=asked.again)
    print(markdown(record))
    return int(any(entry["status"] == "failed" for entry in record.stages.values()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gpu_suite", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--stage", nargs="+", default=["all"], choices=[*BY_NAME, "all"])
    parser.add_argument("--deadline", type=float, default=570.0, help="seconds from now that all must fit in")
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
        elif left < stage.seconds and bench.device.type == "cuda":
            _say(f"{stage.name}: needs about {stage.seconds:.0f} s, and {left:.0f} s are left")
        else:
            _run(stage, bench)


def _run(stage: Stage, bench: Workbench) -> None:
    """Whatever goes wrong in a stage is its result; the others go on."""
    _say(f"{stage.name}: begins")
    start = time.monotonic()
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


def _say(what: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
