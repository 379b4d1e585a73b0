"""`bildwerk check`: do the books, the predictions and the stored pictures agree? Reads, and changes nothing."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from bildwerk.cli.environment import environment_settings
from bildwerk.cli.failure import ExitCode
from bildwerk.cli.standard_output import write_answer
from bildwerk.store.data_folder import open_data_folder
from bildwerk.store.database import READ_ONLY, sqlite_engine
from bildwerk.store.file_check import broken_files
from bildwerk.store.files import LocalFiles
from bildwerk.store.invariants import INVARIANTS, Breach, When, broken


def check(
    *, data_dir: Path | None = None, quiescent: bool = False, all_keyed: bool = False, json: bool | None = None
) -> int:
    """Check every invariant on the data of a server, running or not. Exit status 1 where one does not hold.

    Parameters
    ----------
    data_dir
        The server's data folder.
    quiescent
        Also require that nothing is waiting or running.
    all_keyed
        Also require that every request carried an Idempotency-Key.
    json
        Print a JSON object. Default: only where standard output is not a terminal.
    """
    folder = open_data_folder(data_dir or environment_settings().data_dir)
    conditions = conditions_of(quiescent=quiescent, all_keyed=all_keyed)
    engine = sqlite_engine(folder.database_path, "BEGIN", READ_ONLY)
    with engine.begin() as connection:
        breaches = [*broken(connection, conditions), *broken_files(connection, LocalFiles(folder.files_path))]
    engine.dispose()
    facts = {"ok": not breaches, "breaches": [asdict(breach) for breach in breaches]}
    write_answer(json, facts, as_text(breaches))
    return ExitCode.EXPECTED if breaches else ExitCode.OK


def conditions_of(*, quiescent: bool, all_keyed: bool) -> frozenset[When]:
    return frozenset([*([When.QUIESCENT] if quiescent else []), *([When.KEYED] if all_keyed else [])])


def as_text(breaches: list[Breach]) -> Iterator[str]:
    for breach in breaches:
        yield f"{breach.id}  broken {breach.count} times: {breach.sentence}; such as {', '.join(breach.examples)}"
    if not breaches:
        names = {invariant.id for invariant in INVARIANTS}
        yield f"all {len(names) + 2} invariants hold"
