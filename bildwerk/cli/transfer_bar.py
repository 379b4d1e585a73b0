"""How far bytes have come, as a line that moves; elsewhere than on a terminal, a line each tenth of the way."""

from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

TENTHS = 10
NAME_SHOWN = 36


class TransferBar:
    """One bar for everything, named after the file of the moment."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False, soft_wrap=True)
        self._live: Progress | None = None
        self._task: TaskID | None = None
        self._doing = ""
        self._tenth = 0

    def show(self, doing: str, path: str, done: int, total: int) -> None:
        """doing: what is done to the file; another one begins another bar. done, total: bytes of all files."""
        if doing != self._doing:
            self.close()
            self._doing, self._tenth = doing, 0
        if self._console.is_terminal:
            self._move(f"{doing} {_shortened(path)}", done, total)
        else:
            self._print_tenths(f"{doing} {path}", done, total)

    def _move(self, description: str, done: int, total: int) -> None:
        if self._live is None or self._task is None:
            columns = (TextColumn("{task.description}"), BarColumn(20), DownloadColumn(), TransferSpeedColumn())
            self._live = Progress(*columns, TimeRemainingColumn(), console=self._console, transient=True)
            self._task = self._live.add_task(description, completed=done, total=total)
            self._live.start()
        self._live.update(self._task, description=description, completed=done, total=total)

    def _print_tenths(self, description: str, done: int, total: int) -> None:
        tenth = TENTHS * done // total if total else TENTHS
        if tenth > self._tenth:
            self._tenth = tenth
            self.say(f"{description}: {100 * done // total if total else 100} % of {total:,} bytes")

    def say(self, sentence: str) -> None:
        self._console.print(sentence, markup=False)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
        self._live = self._task = None


def _shortened(path: str) -> str:
    """Both ends: the folder, and what kind of file it is."""
    return path if len(path) <= NAME_SHOWN else f"{path[:16]}...{path[19 - NAME_SHOWN :]}"
