"""The command line: the table of commands, and the one place where an exception becomes an exit code."""

import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from cyclopts import App
from cyclopts.exceptions import CycloptsError

from bildwerk.cli.failure import CommandError, ExitCode
from bildwerk.domain.errors import BildwerkError

COMMANDS = {
    "generate": ("bildwerk.cli.commands.generate:generate", "Make pictures from a prompt, on this machine."),
    "models": ("bildwerk.cli.commands.models:models", "The models that can be asked for."),
    "doctor": ("bildwerk.cli.commands.doctor:doctor", "Can this machine make pictures, and if not, why not?"),
    "serve": ("bildwerk.cli.commands.serve:serve", "Serve pictures behind the API, until a signal."),
    "keys": ("bildwerk.cli.commands.keys:keys", "API keys: make, list and revoke them."),
    "check": ("bildwerk.cli.commands.check:check", "Do the books, the predictions and the stored pictures agree?"),
}
"""Each by its import path: a command is imported when it is run, or when its own help is asked for."""


def build_app() -> App:
    app = App(
        name="bildwerk",
        help="A picture works you own: FLUX.1 [schnell], from the command line.",
        version=f"bildwerk {version('bildwerk')}",
        result_action="return_value",
        suppress_keyboard_interrupt=False,
        help_format="plaintext",
    )
    for name, (import_path, purpose) in COMMANDS.items():
        app.command(import_path, name=name, help=purpose)
    return app


def main(tokens: Sequence[str]) -> int:
    """Run one command line and return its exit code. Everything that goes wrong is explained on standard error."""
    try:
        result = build_app()(list(tokens), exit_on_error=False, print_error=False)
        sys.stdout.flush()
        return ExitCode.OK if result is None else int(result)
    except (BildwerkError, CommandError, CycloptsError) as error:
        return explain(error)
    except KeyboardInterrupt:
        print("bildwerk: interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return reader_left()
    except Exception as error:
        return report_bug(error)


def explain(error: Exception) -> int:
    sentence = " ".join(str(error).split())
    print(f"bildwerk: {sentence}", file=sys.stderr)
    return ExitCode.EXPECTED


def reader_left() -> int:
    """`bildwerk models list | head -1`: nobody reads on, so there is nobody to explain to."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.EXPECTED


def report_bug(error: Exception) -> int:
    log = write_log(error)
    print(f"bildwerk: a bug: {type(error).__name__}: {error}. The traceback is in {log}", file=sys.stderr)
    return ExitCode.BUG


def write_log(error: Exception) -> Path:
    with tempfile.NamedTemporaryFile("w", prefix="bildwerk-", suffix=".log", delete=False, encoding="utf-8") as file:
        file.write(f"bildwerk {version('bildwerk')}, Python {sys.version}\n")
        file.write("".join(traceback.format_exception(error)))
    return Path(file.name)
