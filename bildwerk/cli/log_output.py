"""Where log lines go: standard error, as text on a terminal and as JSON elsewhere."""

import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog

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


def configure_log(level: str) -> None:
    on_terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if on_terminal else [structlog.processors.dict_tracebacks]),
            structlog.dev.ConsoleRenderer() if on_terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, StandardError())),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")
