"""What a person, or a program, is told while a model's files are brought here.

As text a bar on standard error and sentences on standard output. As JSON one object a line, each with an "event":

    {"event": "plan", "folder", "files", "total_bytes", "kept_bytes", "resumed_bytes", "missing_bytes"}
    {"event": "check" | "fetch" | "take", "path", "done", "total", "all_done", "all_total"}, one a hundredth
    {"event": "note", "message"}
    {"event": "end", "model", "folder", "files", "ready", "problems", "advice"}
"""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from typing import Protocol

from bildwerk.checkpoints.disk_space import in_units
from bildwerk.checkpoints.wanted import Planned, Transfer, Work
from bildwerk.cli.model_state import ModelState
from bildwerk.cli.report import counted
from bildwerk.cli.standard_output import wants_json, write_json, write_line
from bildwerk.cli.transfer_bar import TransferBar

HUNDREDTHS = 100
LABEL = 11
DOING = {Work.CHECK: "checking", Work.FETCH: "fetching", Work.TAKE: "taking over"}


class TransferReport(Protocol):
    def plan(self, planned: Planned, source: str) -> None: ...
    def progress(self, transfer: Transfer) -> None: ...
    def say(self, sentence: str) -> None: ...
    def end(self, state: ModelState, files: list[str]) -> None: ...


class JsonTransferReport:
    def __init__(self) -> None:
        self._last: tuple[Work | None, int] = (None, 0)

    def plan(self, planned: Planned, source: str) -> None:
        write_json(
            {
                "event": "plan",
                "source": source,
                "folder": str(planned.folder),
                "files": planned.files,
                "total_bytes": planned.total_bytes,
                "kept_bytes": planned.kept_bytes,
                "resumed_bytes": planned.resumed_bytes,
                "missing_bytes": planned.missing_bytes,
            }
        )

    def progress(self, transfer: Transfer) -> None:
        hundredth = HUNDREDTHS * transfer.all_done // transfer.all_total if transfer.all_total else HUNDREDTHS
        if (transfer.work, hundredth) != self._last:
            self._last = (transfer.work, hundredth)
            facts = asdict(transfer)
            write_json({"event": facts.pop("work"), **facts})

    def say(self, sentence: str) -> None:
        write_json({"event": "note", "message": sentence})

    def end(self, state: ModelState, files: list[str]) -> None:
        facts = {"folder": str(state.folder), "ready": state.is_ready, "problems": state.problems}
        write_json({"event": "end", "model": state.model.id, "files": files, **facts, "advice": state.advice})


class TextTransferReport:
    def __init__(self, bar: TransferBar) -> None:
        self._bar = bar

    def plan(self, planned: Planned, source: str) -> None:
        self._bar.close()
        write_line(
            f"{source}: {counted(planned.files, 'file')}, {in_units(planned.total_bytes)}, into {planned.folder}"
        )
        if planned.resumed_bytes:
            write_line(f"{in_units(planned.resumed_bytes)} are here from a pull that was not finished")
        if planned.missing_bytes and planned.kept_bytes:
            write_line(f"{in_units(planned.missing_bytes)} are still to be fetched")

    def progress(self, transfer: Transfer) -> None:
        self._bar.show(DOING[transfer.work], transfer.path, transfer.all_done, transfer.all_total)

    def say(self, sentence: str) -> None:
        self._bar.close()
        write_line(sentence)

    def end(self, state: ModelState, files: list[str]) -> None:
        self._bar.close()
        write_line(f"{counted(len(files), 'new file')}; every SHA-256 is recorded" if files else "nothing was missing")
        if state.is_ready:
            write_line(
                f"{state.model.id} is ready: bildwerk generate 'a lake at dawn' --model {state.model.short_name}"
            )
        for problem in state.problems:
            write_line(f"not ready  {problem}", LABEL)
        if state.advice is not None:
            write_line(f"to do      {state.advice}", LABEL)


@contextmanager
def open_transfer_report(json_asked: bool | None) -> Iterator[TransferReport]:
    if wants_json(json_asked):
        yield JsonTransferReport()
        return
    with closing(TransferBar(sys.stderr)) as bar:
        yield TextTransferReport(bar)
