"""Text on a terminal, JSON elsewhere, the same for every command; and lines that fit the terminal."""

import inspect
import json
import os
import pty
import sys
from io import StringIO

import pytest

from bildwerk.cli.main import COMMANDS, build_app
from bildwerk.cli.standard_output import aligned, wants_json, write_answer
from bildwerk.cli.wrapping import wrapped
from tests.cli.conftest import Bildwerk
from tests.cli.test_commands import SUBCOMMANDS

LINE = "to do      take the transformer and T5 from https://example.org/a-very-long-name-that-fits-no-line-at-all"


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard output from now on, 40 columns wide."""
    found = Terminal()
    monkeypatch.setattr(sys, "stdout", found)
    monkeypatch.setenv("COLUMNS", "40")
    return found


GROUPS = {"models", "loras", "keys", "accounts"}
ALONE = [(name,) for name in COMMANDS.keys() - GROUPS - {"serve"}]


@pytest.mark.parametrize("command", [*sorted(ALONE), *SUBCOMMANDS], ids=" ".join)
def test_every_command_has_the_same_two_options_and_the_same_default(command: tuple[str, ...]) -> None:
    _, (*_, app), _ = build_app().parse_commands(list(command))
    assert app.default_command is not None
    option = inspect.signature(app.default_command).parameters["json"]
    assert option.default is None
    assert option.annotation in (bool | None, "bool | None")


def test_elsewhere_than_on_a_terminal_an_answer_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    write_answer(None, {"id": "a"}, ["the line"])
    assert json.loads(capsys.readouterr().out) == {"id": "a"}
    write_answer(False, {"id": "a"}, ["the line"])
    assert capsys.readouterr().out == "the line\n"


def test_on_a_terminal_an_answer_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    assert not wants_json(None)
    write_answer(None, {"id": "a"}, ["the line"])
    assert terminal.getvalue() == "the line\n"
    write_answer(True, {"id": "a"}, ["the line"])
    assert terminal.getvalue().endswith('{"id": "a"}\n')


def test_a_table_has_columns_as_wide_as_they_need_and_no_headings_without_rows() -> None:
    assert list(aligned(("ID", "HELD"), [("a", "0.25"), ("long", "12")], numbers=("HELD",))) == [
        "ID    HELD",
        "a     0.25",
        "long    12",
    ]
    assert list(aligned(("ID", "HELD"), [])) == []


def test_long_lines_are_wrapped_on_a_terminal_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    lines = wrapped(f"{LINE} or not", terminal, indent=12).splitlines()
    assert lines[0] == "to do      take the transformer and T5"
    assert lines[1] == f"            from {LINE.rsplit(maxsplit=1)[-1]}"
    assert lines[2] == "            or not"


def test_elsewhere_a_line_stays_one_line() -> None:
    assert wrapped(LINE, StringIO(), indent=11) == LINE


def test_an_error_is_wrapped_on_a_terminal(bildwerk: Bildwerk, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = pty.openpty()
    monkeypatch.setenv("COLUMNS", "60")
    with os.fdopen(write, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        bildwerk("generate", "a lake", "--dtype", "fp16")
    shown = os.read(read, 10_000).decode().splitlines()
    os.close(read)
    assert len(shown) > 1
    assert max(map(len, shown)) <= 60
