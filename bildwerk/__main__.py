"""`python -m bildwerk`, and the entry point of the `bildwerk` command."""

import sys

from bildwerk.cli.main import main


def run() -> None:
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
