"""`python -m bildwerk`, and the entry point of the `bildwerk` command."""

import os
import sys
from contextlib import suppress
from typing import NoReturn

INTERRUPTED = 130


def run() -> None:
    """The import takes long enough to be interrupted, so it stands where that is explained."""
    try:
        from bildwerk.cli.main import main

        exit_code = main(sys.argv[1:])
    except KeyboardInterrupt:
        print("bildwerk: interrupted", file=sys.stderr)  # noqa: T201
        exit_code = INTERRUPTED
    leave(exit_code)


def leave(exit_code: int) -> NoReturn:
    """Taking torch apart takes half a second, a fifth of a picture in a new process, and has no effect on anything."""
    if "torch" not in sys.modules:
        sys.exit(exit_code)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(exit_code)


if __name__ == "__main__":
    run()
