"""`bildwerk check`: do the books, the predictions and the stored pictures agree? Reads, and changes nothing."""

import json as json_text
from dataclasses import asdict
from pathlib import Path

from bildwerk.cli.environment import environment_settings
from bildwerk.cli.failure import ExitCode
from bildwerk.store.data_folder import open_data_folder
from bildwerk.store.database import READ_ONLY, sqlite_engine
from bildwerk.store.file_check import broken_files
from bildwerk.store.files import LocalFiles
from bildwerk.store.invariants import INVARIANTS, Breach, When, broken


def check(*, data_dir: Path | None = None, quiescent: bool = False, all_keyed: bool = False, json: bool = False) -> int:
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
        Print a JSON object.
    """
    folder = open_data_folder(data_dir or environment_settings().data_dir)
    conditions = conditions_of(quiescent=quiescent, all_keyed=all_keyed)
    engine = sqlite_engine(folder.database_path, "BEGIN", READ_ONLY)
    with engine.begin() as connection:
        breaches = [*broken(connection, conditions), *broken_files(connection, LocalFiles(folder.files_path))]
    engine.dispose()
    report(breaches, json=json)
    return ExitCode.EXPECTED if breaches else ExitCode.OK


def conditions_of(*, quiescent: bool, all_keyed: bool) -> frozenset[When]:
    return frozenset([*([When.QUIESCENT] if quiescent else []), *([When.KEYED] if all_keyed else [])])


def report(breaches: list[Breach], *, json: bool) -> None:
    if json:
        print(json_text.dumps({"ok": not breaches, "breaches": [asdict(breach) for breach in breaches]}))
        return
    for breach in breaches:
        print(f"{breach.id}  broken {breach.count} times: {breach.sentence}; such as {', '.join(breach.examples)}")
    if not breaches:
        names = {invariant.id for invariant in INVARIANTS}
        print(f"all {len(names) + 2} invariants hold")
