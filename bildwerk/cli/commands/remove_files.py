"""`bildwerk models remove`: make room again."""

import sys
from typing import Annotated

from cyclopts import Parameter

from bildwerk.checkpoints.disk_space import in_units
from bildwerk.checkpoints.location import folder_of
from bildwerk.checkpoints.removal import Holding, holding, remove
from bildwerk.cli.failure import CommandError, UsageError
from bildwerk.cli.model_files import models_folder, named_model
from bildwerk.cli.standard_output import write_answer


def remove_files(model: str, *, yes: Annotated[bool, Parameter(negative=())] = False, json: bool | None = None) -> None:
    """Remove a model's files from this machine, after asking. Its LoRAs stay, and so do originals that were imported.

    Nothing is removed while a service or `bildwerk generate` uses the model.

    Parameters
    ----------
    model
        Id or short name.
    yes
        Do not ask.
    json
        Print a JSON object. Default: only where standard output is not a terminal.
    """
    spec = named_model(model)
    if spec.embedded:
        raise CommandError(f"{spec.id} is part of Bildwerk: it cannot be removed")
    found = holding(folder_of(spec, models_folder()))
    if not (yes or agreed(f"remove {spec.id}, {described(found)}?")):
        raise CommandError("nothing was removed")
    remove(found)
    facts = {"model": spec.id, "folder": str(found.folder), "freed_bytes": found.own_bytes}
    write_answer(
        json,
        {"event": "removed", **facts, "shared_bytes": found.shared_bytes, "was_link": found.is_link},
        [f"removed {spec.id}, {described(found)}"],
    )


def described(found: Holding) -> str:
    if found.is_link:
        return f"the link {found.folder}; what it leads to stays"
    shared = f", and {in_units(found.shared_bytes)} stay under other names" if found.shared_bytes else ""
    return f"{in_units(found.own_bytes)} in {found.folder}{shared}"


def agreed(question: str) -> bool:
    """Asked at the terminal. Raises `UsageError` where nobody is there to answer."""
    if not sys.stdin.isatty():
        raise UsageError("nobody can be asked here whether the files may go: add --yes")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
