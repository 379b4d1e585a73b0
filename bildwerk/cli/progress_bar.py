"""One line that moves, on a terminal; nothing elsewhere."""

from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bildwerk.cli.wrapping import wrapped


class ProgressBar:
    """A bar for the stage that is being worked on. Sentences go above it."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False, soft_wrap=True)
        self._stream = stream
        self._live: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def show(self, stage: str, done: int, total: int) -> None:
        if not self._console.is_terminal:
            return
        live = self._live or self._open()
        if stage not in self._tasks:
            self._tasks[stage] = live.add_task(stage, total=total)
        live.update(self._tasks[stage], completed=done, total=total)

    def _open(self) -> Progress:
        columns = (TextColumn("{task.description:8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._live = Progress(*columns, console=self._console, transient=True, redirect_stdout=False)
        self._live.start()
        return self._live

    def say(self, message: str) -> None:
        self._console.print(wrapped(message, self._stream), markup=False)

    def clear(self) -> None:
        """Take the bar away, so that other output can be written; the next `show` brings it back."""
        if self._live is not None:
            self._live.stop()
        self._live = None
        self._tasks = {}

    def close(self) -> None:
        self.clear()
