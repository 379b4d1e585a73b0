"""A heat: all its contenders are started, then each is asked once a round.

So a drift of the machine's clock hits all alike.
"""

import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.circumstances import ROOT
from bench.cpu.contenders import Entry, Heat
from bench.cpu.conversation import AbsentError, Contender, ContenderError
from bench.cpu.material import Material
from bench.cpu.result import MEASURED, QUIET

Numbers = dict[str, Any]

ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Setting:
    """What is the same for all heats. `deadline` is of `time.monotonic`; no round is begun that would pass it.
    `adds`: to the rounds that the same commit has measured before."""

    material: Material
    rounds: int
    threads: int
    peers_python: str
    deadline: float
    adds: bool = False


@dataclass(slots=True)
class Running:
    """A heat on its way. Whoever cannot start or dies is a result too, and the others go on."""

    heat: Heat
    side: int
    setting: Setting
    contenders: dict[str, Contender] = field(default_factory=dict)
    facts: dict[str, Numbers] = field(default_factory=dict)
    answers: dict[str, list[Numbers]] = field(default_factory=dict)
    results: Numbers = field(default_factory=dict)

    def run(self) -> Numbers:
        """The results by contender: `status` is measured, absent or failed."""
        try:
            for entry in self.heat.entries:
                self._attempt(entry, self._start)
            self._run_rounds()
            for entry in self.heat.entries:
                self._attempt(entry, self._summarize)
        finally:
            for contender in self.contenders.values():
                contender.end()
        return {entry.name: self.results[entry.name] for entry in self.heat.entries}

    def _attempt(self, entry: Entry, action: Any) -> None:
        if entry.name in self.results:
            return
        try:
            action(entry)
        except ContenderError as error:
            state = "absent" if isinstance(error, AbsentError) else "failed"
            self.results[entry.name] = {"status": state, "reason": str(error), "install": entry.install}
            _say(f"{entry.name}: {state}: {error}")
            if entry.name in self.contenders:
                self.contenders.pop(entry.name).end()

    def _start(self, entry: Entry) -> None:
        material = self.setting.material
        where = (str(material.folder), material.scale.name, str(self.side), str(self.setting.threads))
        command = entry.command(self.setting.peers_python, *where)
        contender = Contender(entry.name, command, ROOT, entry.surroundings(self.setting.threads))
        self.contenders[entry.name] = contender
        ready = self.facts[entry.name] = contender.wait_until_ready()
        self.answers[entry.name] = []
        facts = ", ".join(f"{name} {value}" for name, value in ready["ready"].items() if not isinstance(value, list))
        _say(f"{entry.name}: {facts}; ready after {ready['seconds_to_ready']:.1f} s")

    def _run_rounds(self) -> None:
        longest = 0.0
        for number in range(1, self.setting.rounds + 1):
            started = time.monotonic()
            if number > 1 and started + longest > self.setting.deadline:
                _say(f"the deadline ends this heat after {number - 1} rounds")
                return
            for entry in self.heat.entries:
                self._attempt(entry, self._ask)
            longest = max(longest, time.monotonic() - started)
            seconds = (f"{name} {answers[-1]['seconds']:.2f}" for name, answers in self.answers.items() if answers)
            _say(f"{number}: {', '.join(seconds)}")

    def _ask(self, entry: Entry) -> None:
        """Once more where others were busy meanwhile; the least disturbed time counts."""
        answers = [self._ask_once(entry)]
        while answers[-1]["others"] > QUIET and len(answers) < ATTEMPTS and time.monotonic() < self.setting.deadline:
            answers.append(self._ask_once(entry))
        self.answers[entry.name].append(min(answers, key=lambda answer: answer["others"]))

    def _ask_once(self, entry: Entry) -> Numbers:
        """With how many cores were busy with something else meanwhile, and how much came from the disk."""
        contender = self.contenders[entry.name]
        busy, own, read, started = _busy_seconds(), contender.cpu_seconds(), contender.mib_read(), time.monotonic()
        answer = contender.ask("measure")
        others = (_busy_seconds() - busy) - (contender.cpu_seconds() - own)
        others /= time.monotonic() - started
        return answer | {"others": max(0.0, others), "mib_read": contender.mib_read() - read}

    def _summarize(self, entry: Entry) -> None:
        answers, facts, contender = self.answers[entry.name], self.facts[entry.name], self.contenders[entry.name]
        parts = answers[0].get("parts", {})
        self.results[entry.name] = {
            "status": MEASURED,
            "runs": [answer["seconds"] for answer in answers],
            "others": [answer["others"] for answer in answers],
            "mib_read": [answer["mib_read"] for answer in answers],
            "parts": {name: [answer["parts"][name] for answer in answers] for name in parts},
            **contender.ask("memory"),
            **contender.ask("profile"),
            "seconds_to_ready": facts["seconds_to_ready"],
            "facts": facts["ready"],
        }


def _busy_seconds() -> float:
    """Of all cores of the machine, what the host took away from it included."""
    ticks = [int(number) for number in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def _say(what: str) -> None:
    print(f"  {what}", file=sys.stderr, flush=True)
