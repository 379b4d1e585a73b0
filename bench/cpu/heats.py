"""A heat: all its contenders are started, then each is asked once a round, so that a drift of the clock hits all alike."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.circumstances import ROOT
from bench.cpu.contenders import BASE, CEILINGS, Entry, Heat
from bench.cpu.conversation import AbsentError, Contender, ContenderError
from bench.cpu.material import Material

Numbers = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """What is the same for all heats. `deadline` is of `time.monotonic`; no round is begun that would pass it."""

    material: Material
    rounds: int
    threads: int
    peers_python: str
    deadline: float


@dataclass(slots=True)
class _Lane:
    contender: Contender
    facts: Numbers
    answers: list[Numbers] = field(default_factory=list)


def run(heat: Heat, side: int, setting: Setting, say: Callable[[str], None] | None = None) -> Numbers:
    """The results by contender: `status` is measured, absent or failed."""
    say = say or (lambda what: print(what, file=sys.stderr, flush=True))
    lanes: dict[str, _Lane] = {}
    results: Numbers = {}
    try:
        for entry in heat.entries:
            _start(entry, side, setting, lanes, results, say)
        _run_rounds(lanes, results, setting, say)
        for name, lane in lanes.items():
            results[name] = _summary(lane)
    finally:
        for lane in lanes.values():
            lane.contender.end()
    return {entry.name: results[entry.name] for entry in heat.entries}


def _start(
    entry: Entry, side: int, setting: Setting, lanes: dict[str, _Lane], results: Numbers, say: Callable[[str], None]
) -> None:
    """Whoever cannot start is a result too, and the others go on."""
    where = (str(setting.material.folder), setting.material.scale.name, str(side), str(setting.threads))
    command = entry.command(setting.peers_python, *where)
    contender = None
    try:
        contender = Contender(entry.name, command, ROOT, entry.surroundings(setting.threads))
        lanes[entry.name] = _Lane(contender, contender.wait_until_ready())
        say(f"  {entry.name}: {_brief(lanes[entry.name].facts)}")
    except ContenderError as error:
        state = "absent" if isinstance(error, AbsentError) else "failed"
        results[entry.name] = {"status": state, "reason": str(error), "install": entry.install}
        say(f"  {entry.name}: {state}: {error}")
        if contender is not None:
            contender.end()


def _brief(facts: Numbers) -> str:
    parts = [f"{name} {value}" for name, value in facts["ready"].items() if not isinstance(value, list)]
    return ", ".join([*parts, f"ready after {facts['seconds_to_ready']:.1f} s"])


def _run_rounds(lanes: dict[str, _Lane], results: Numbers, setting: Setting, say: Callable[[str], None]) -> None:
    longest = 0.0
    for number in range(setting.rounds):
        started = time.monotonic()
        if number and started + longest > setting.deadline:
            say(f"  the deadline ends this heat after {number} rounds")
            return
        for name in [*lanes]:
            try:
                lanes[name].answers.append(_ask(lanes[name].contender))
            except ContenderError as error:
                results[name] = {"status": "failed", "reason": str(error)}
                lanes.pop(name).contender.end()
        longest = max(longest, time.monotonic() - started)
        seconds = "  ".join(f"{name} {lane.answers[-1]['seconds']:.2f}" for name, lane in lanes.items())
        say(f"  {number + 1}: {seconds}")


def _ask(contender: Contender) -> Numbers:
    """With how many cores were busy with something else meanwhile."""
    before, started = (_machine_seconds(), contender.cpu_seconds()), time.monotonic()
    answer = contender.ask("measure")
    after, passed = (_machine_seconds(), contender.cpu_seconds()), time.monotonic() - started
    others = (after[0] - before[0]) - (after[1] - before[1])
    return answer | {"others": max(0.0, others / passed)}


def _machine_seconds() -> float:
    """That all cores were busy: user, nice, system, interrupts; and what the host took away."""
    ticks = [int(field) for field in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def _summary(lane: _Lane) -> Numbers:
    runs = [answer["seconds"] for answer in lane.answers]
    found: Numbers = {
        "status": "measured",
        "seconds": median(runs),
        "fastest": min(runs),
        "slowest": max(runs),
        "rounds": len(runs),
        "runs": [round(seconds, 4) for seconds in runs],
        "others_cores": round(max(answer["others"] for answer in lane.answers), 2),
        **{
            part: median(answer[part] for answer in lane.answers)
            for part in ("forward", "modulation")
            if part in lane.answers[0]
        },
        **lane.contender.ask("memory"),
        "seconds_to_ready": round(lane.facts["seconds_to_ready"], 2),
        "facts": lane.facts["ready"],
    }
    if "rates" in lane.answers[0]:
        names = lane.answers[0]["rates"]
        found["rates"] = {name: median(answer["rates"][name] for answer in lane.answers) for name in names}
    return found
