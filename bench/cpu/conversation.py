"""How the bench speaks with a contender, which is a process of its own: lines of JSON, one answer to one request.

A contender says `ready` with what it is, or `absent` with why it cannot be measured.  Between two requests it is
stopped (SIGSTOP), so that no pool of threads of one contender can spin while another is measured.
"""

import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

Answer = dict[str, Any]


class ContenderError(Exception):
    """A contender is not there, or died; the text says why."""


class AbsentError(ContenderError):
    """What a contender needs is not installed."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A contender that is ready: its `facts`, and what one measurement is, {"seconds": ..., "parts": {...}}.

    `keep` writes its result to a file, `profile` tells where its time goes; not every contender can.
    """

    facts: Mapping[str, object]
    measure: Callable[[], Answer]
    keep: Callable[[Path], None] | None = None
    profile: Callable[[], Answer] | None = None


def converse(prepare: Callable[[], Prepared]) -> None:
    """The contender's side, until the bench has no more requests. What libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    started = time.perf_counter()
    try:
        prepared = prepare()
        first = prepared.measure()["seconds"]
    except (ImportError, AbsentError) as error:
        _say(answers, {"absent": f"{error}"})
        return
    passed = time.perf_counter() - started
    _say(answers, {"ready": dict(prepared.facts), "seconds_to_ready": passed, "first_seconds": first})
    for line in sys.stdin:
        _say(answers, _answer(prepared, line.strip()))


def _answer(prepared: Prepared, request: str) -> Answer:
    match request.split(" ", maxsplit=1):
        case ["measure"]:
            return prepared.measure()
        case ["memory"]:
            return {"peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}
        case ["profile"]:
            return prepared.profile() if prepared.profile else {}
        case ["keep", path] if prepared.keep is not None:
            prepared.keep(Path(path))
            return {}
    raise ValueError(f"no such request: {request}")


def _say(answers: TextIO, answer: Mapping[str, object]) -> None:
    answers.write(json.dumps(answer) + "\n")


class Contender:
    """The bench's side of one process."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        """Raises `AbsentError` where the program itself is not there."""
        self.name = name
        self._words = tempfile.TemporaryFile()  # noqa: SIM115  as long as the process
        try:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._words,
            )
        except OSError as error:
            self._words.close()
            raise AbsentError(f"{command[0]}: {error.strerror}") from error

    def wait_until_ready(self, seconds: float = 600) -> Answer:
        """What it says of itself. Raises `AbsentError`, or `ContenderError` where it died."""
        answer = self._read(seconds)
        if "absent" in answer:
            raise AbsentError(answer["absent"])
        self._signal(signal.SIGSTOP)
        return answer

    def ask(self, request: str, seconds: float = 300) -> Answer:
        assert self._process.stdin is not None
        self._signal(signal.SIGCONT)
        self._process.stdin.write(f"{request}\n".encode())
        self._process.stdin.flush()
        answer = self._read(seconds)
        self._signal(signal.SIGSTOP)
        return answer

    def cpu_seconds(self) -> float:
        """Of all its threads, since it was started."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def mib_read(self) -> float:
        """From the disk since it was started: its files, and pages of them that the kernel had let go meanwhile."""
        lines = Path(f"/proc/{self._process.pid}/io").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes")) / 2**20

    def end(self) -> None:
        self._signal(signal.SIGCONT)
        self._process.kill()
        self._process.communicate()
        self._words.close()

    def _signal(self, number: int) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)

    def _read(self, seconds: float) -> Answer:
        output = self._process.stdout
        assert output is not None
        if not select.select([output], [], [], seconds)[0]:
            raise ContenderError(f"{self.name} gave no answer within {seconds:.0f} s")
        line = output.readline()
        if not line:
            raise ContenderError(f"{self.name} ended: {self._last_words()}")
        answer: Answer = json.loads(line)
        return answer

    def _last_words(self) -> str:
        self._process.wait()
        self._words.seek(0)
        lines = self._words.read().decode(errors="replace").strip().splitlines()
        return " / ".join(lines[-3:])[-500:] or f"exit code {self._process.returncode}"
