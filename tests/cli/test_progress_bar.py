"""On a terminal a line moves; elsewhere there are only the sentences."""

from io import StringIO

import pytest

from bildwerk.cli.progress_bar import ProgressBar


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _ordinary_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for override in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(override, raising=False)


def draw(stream: StringIO) -> str:
    bar = ProgressBar(stream)
    bar.say("flux-tiny, [256x256]")
    bar.show("denoise", 1, 4)
    bar.show("denoise", 3, 4)
    bar.clear()
    bar.show("decode", 1, 1)
    bar.close()
    return stream.getvalue()


def test_a_terminal_sees_stages_and_steps() -> None:
    drawn = draw(Terminal())
    assert "flux-tiny, [256x256]\n" in drawn
    assert "denoise" in drawn
    assert "3/4" in drawn
    assert "decode" in drawn


def test_elsewhere_only_sentences_are_written() -> None:
    assert draw(StringIO()) == "flux-tiny, [256x256]\n"
