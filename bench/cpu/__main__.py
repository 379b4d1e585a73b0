"""Measure the engine on a CPU beside its peers and beside what the machine can do.

    python -m bench.cpu                                    # everything that is installed here
    python -m bench.cpu --heat diffusers --rounds 5        # one heat of it
    python -m bench.cpu --report                           # the table of what was measured

Each heat is written when it is done, and heats that were measured before stay in the result file.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.circumstances import ROOT
from bench.cpu import accuracy, plot, table
from bench.cpu.contenders import HEATS
from bench.cpu.heats import Running, Setting
from bench.cpu.material import SCALES, Material
from bench.cpu.record import Record
from bildwerk.engine.cpu.cores import usable_cores

BY_NAME = {heat.name: heat for heat in HEATS}
ACCURACY = "accuracy"
RESULT = ROOT / "bench" / "results" / "cpu.json"
MATERIAL = ROOT / "out" / "cpu"


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    record = Record.read(asked.out)
    if not asked.report:
        material = Material(asked.material / asked.scale, SCALES[asked.scale])
        _say("writing weights and inputs, where they are not there yet")
        material.make()
        deadline = time.monotonic() + asked.deadline
        setting = Setting(material, asked.rounds, asked.threads, asked.peers_python, deadline, asked.add)
        _run(asked.heat, asked.side, setting, record)
    print(table.of(record))
    picture = asked.out.with_suffix(".png")
    if plot.write(record, picture):
        print(f"\nwritten to {asked.out} and {picture}")
    return int(record.has_failures)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.cpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--heat", nargs="+", default=["all"], choices=["all", *BY_NAME, ACCURACY])
    parser.add_argument("--side", nargs="+", type=int, help="of the pictures, in pixels; default: each heat's own")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--add", action="store_true", help="to the rounds that the same commit has measured before")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--deadline", type=float, default=3600.0, help="in seconds; no round that passes it begins")
    parser.add_argument("--peers-python", default=sys.executable, help="which has OpenVINO and stable-diffusion.cpp")
    parser.add_argument("--scale", choices=[*SCALES], default="full", help="tiny: toy networks, to see that it runs")
    parser.add_argument("--material", type=Path, default=MATERIAL, help="folder for weights and inputs; 3 GB when full")
    parser.add_argument("--out", type=Path, default=RESULT, help="result file")
    parser.add_argument("--report", action="store_true", help="only print the table of what was measured")
    return parser


def _run(wanted: Sequence[str], sides: Sequence[int] | None, setting: Setting, record: Record) -> None:
    every, scale = "all" in wanted, setting.material.scale
    for heat in HEATS:
        if every or heat.name in wanted:
            for side in sides or (scale.sides if heat.all_sides else scale.sides[:1]):
                _say(f"{heat.name}, {side}x{side}: begins")
                record.write_heat(heat, side, setting, Running(heat, side, setting).run())
    for side in sides or scale.sides:
        if every or ACCURACY in wanted:
            _say(f"accuracy, {side}x{side}: begins")
            record.write_accuracy(side, setting, accuracy.errors(side, setting))


def _say(what: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
