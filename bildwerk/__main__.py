"""`python -m bildwerk`, and the entry point of the `bildwerk` command."""

import sys

INTERRUPTED = 130


def run() -> None:
    """The import takes long enough to be interrupted, so it stands where that is explained."""
    try:
        from bildwerk.cli.main import main

        exit_code = main(sys.argv[1:])
    except KeyboardInterrupt:
        print("bildwerk: interrupted", file=sys.stderr)  # noqa: T201
        exit_code = INTERRUPTED
    sys.exit(exit_code)


if __name__ == "__main__":
    run()
