"""The command line: the table of commands, and the one place where an exception becomes an exit code."""

import io
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from cyclopts import App
from cyclopts.exceptions import CycloptsError

from bildwerk.checkpoints.errors import CheckpointError
from bildwerk.cli.failure import CommandError, ExitCode, UsageError
from bildwerk.cli.machine import package_version
from bildwerk.cli.usage import usage_sentence
from bildwerk.cli.wrapping import wrapped
from bildwerk.domain.errors import BildwerkError

COMMANDS = {
    "generate": ("bildwerk.cli.commands.generate:generate", "Make pictures from a prompt, on this machine."),
    "models": ("bildwerk.cli.commands.models:models", "The models that can be asked for."),
    "loras": ("bildwerk.cli.commands.loras:loras", "The LoRAs that requests may name: add, list and remove them."),
    "doctor": ("bildwerk.cli.commands.doctor:doctor", "Can this machine make pictures, and if not, why not?"),
    "bench": ("bildwerk.cli.commands.bench:bench", "How fast does this machine make pictures?"),
    "serve": ("bildwerk.cli.commands.serve:serve", "Serve pictures behind the API, until a signal."),
    "keys": ("bildwerk.cli.commands.keys:keys", "API keys: make, list and revoke them."),
    "accounts": ("bildwerk.cli.commands.accounts:accounts", "Accounts: make, list, show and top them up."),
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
    prepare_streams()
    try:
        result = build_app()(list(tokens), exit_on_error=False, print_error=False)
        sys.stdout.flush()
        return ExitCode.OK if result is None else int(result)
    except (BildwerkError, CheckpointError, CommandError, CycloptsError) as error:
        return explain(error)
    except KeyboardInterrupt:
        print("bildwerk: interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        discard_output()
        return ExitCode.EXPECTED
    except OSError as error:
        return output_lost(error) if is_output_broken() else report_bug(error)
    except Exception as error:
        return report_bug(error)


def prepare_streams() -> None:
    """A closed stream is an empty one, and no text is refused for its encoding: what has no place in it is escaped."""
    sys.stdin, sys.stdout, sys.stderr = (stream or nothing() for stream in (sys.stdin, sys.stdout, sys.stderr))
    for stream, errors in ((sys.stdin, "replace"), (sys.stdout, "backslashreplace"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def nothing() -> io.TextIOWrapper:
    return Path(os.devnull).open("r+", encoding="utf-8")


def explain(error: Exception) -> int:
    sentence = usage_sentence(error) if isinstance(error, CycloptsError) else str(error)
    line = " ".join(f"bildwerk: {sentence}".split())
    print(wrapped(line, sys.stderr), file=sys.stderr)
    if is_output_broken():
        discard_output()
    return ExitCode.USAGE if isinstance(error, CycloptsError | UsageError) else ExitCode.EXPECTED


def discard_output() -> None:
    """`bildwerk models list | head -1`: nobody reads on, and Python must not fail once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_output_broken() -> bool:
    """Text that could not be written may still be waiting, and fails again."""
    try:
        sys.stdout.flush()
    except OSError:
        return True
    return False


def output_lost(error: OSError) -> int:
    discard_output()
    print(f"bildwerk: cannot write to standard output: {error.strerror}", file=sys.stderr)
    return ExitCode.EXPECTED


def report_bug(error: Exception) -> int:
    try:
        where = f"The traceback is in {write_log(error)}"
    except Exception as failure:
        where = f"The traceback could not be kept: {failure}"
    print(f"bildwerk: a bug: {type(error).__name__}: {error}. {where}", file=sys.stderr)
    return ExitCode.BUG


def write_log(error: Exception) -> Path:
    with tempfile.NamedTemporaryFile("w", prefix="bildwerk-", suffix=".log", delete=False, encoding="utf-8") as file:
        file.write(f"bildwerk {package_version('bildwerk')}, Python {sys.version}\n")
        file.write("".join(traceback.format_exception(error)))
    return Path(file.name)
