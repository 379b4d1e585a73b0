"""Where log lines go: standard error, as text on a terminal and as JSON elsewhere."""

import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog

CLOCK = "%H:%M:%S"
"""For a person who sits before it: the date, and what is less than a second, only make the line longer."""
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class StandardError:
    """Whatever is standard error at the moment of writing.

    A line that it does not take, as when its disk is full, is dropped and counted: work goes on without it.
    """

    def __init__(self) -> None:
        self.lost = 0

    def write(self, text: str) -> int:
        try:
            if self.lost:
                sys.stderr.write(f"\nbildwerk: {self.lost} log lines were lost\n")
                self.lost = 0
            return sys.stderr.write(text)
        except OSError:
            self.lost += text.count("\n")
            return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


def for_people() -> structlog.dev.ConsoleRenderer:
    """Tracebacks without the values of variables, among which there may be keys."""
    return structlog.dev.ConsoleRenderer(
        sort_keys=False, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
    )


def configure_log(level: str) -> None:
    on_terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt=CLOCK) if on_terminal else structlog.processors.TimeStamper(fmt="iso"),
            *([] if on_terminal else [structlog.processors.dict_tracebacks]),
            for_people() if on_terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, StandardError())),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")
