"""Log lines that nobody can take are dropped and counted, and stop no work."""

import io
from pathlib import Path

import pytest

from bildwerk.cli.log_output import StandardError


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_lines_for_a_full_disk_are_counted_and_told_of_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    log = StandardError()
    full = open("/dev/full", "w", buffering=1)  # noqa: PTH123, SIM115
    monkeypatch.setattr("sys.stderr", full)
    for _ in range(3):
        print("never seen", file=log, flush=True)  # type: ignore[call-overload]
    assert log.lost == 3
    taken = io.StringIO()
    monkeypatch.setattr("sys.stderr", taken)
    print("seen", file=log, flush=True)  # type: ignore[call-overload]
    print("seen, too", file=log, flush=True)  # type: ignore[call-overload]
    assert taken.getvalue() == "\nbildwerk: 3 log lines were lost\nseen\nseen, too\n"
    with pytest.raises(OSError, match="No space left"):
        full.close()
