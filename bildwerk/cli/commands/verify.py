"""`bildwerk models verify`: is every file still what it was when it came?"""

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing

from bildwerk.checkpoints.listing import REPOSITORY
from bildwerk.checkpoints.manifest import Record
from bildwerk.checkpoints.verification import Verdict, Verified, verify
from bildwerk.checkpoints.wanted import Transfer
from bildwerk.cli.failure import ExitCode
from bildwerk.cli.model_advice import advice_here
from bildwerk.cli.model_files import named_model
from bildwerk.cli.model_state import ModelState, state_of
from bildwerk.cli.standard_output import wants_json, write_answer
from bildwerk.cli.transfer_bar import TransferBar
from bildwerk.domain.catalog import ModelSpec, load_catalog

LABEL = 9


def verify_models(model: str | None = None, *, json: bool | None = None) -> int:
    """Read every file of a model and compare it with the SHA-256 that it had when it came. Ends with 1 on a breach.

    Parameters
    ----------
    model
        Id or short name. Default: every model that is here.
    json
        Print one JSON object a line. Default: only where standard output is not a terminal.
    """
    chosen = [named_model(model)] if model is not None else list(load_catalog().values())
    states = [state for state in map(state_of, chosen) if model is not None or state.folder.is_dir()]
    as_json = wants_json(json)
    whole = [verify_one(state, as_json) for state in states]
    return ExitCode.OK if all(whole) else ExitCode.EXPECTED


def verify_one(before: ModelState, as_json: bool) -> bool:
    """Whether nothing is wrong."""
    judged: list[Verified] = []
    with closing(TransferBar(sys.stderr)) as bar:
        for event in verify(before.folder):
            if isinstance(event, Verified):
                judged.append(event)
            elif not as_json:
                show(bar, event)
    state = state_of(before.model)
    bad = [one for one in judged if one.verdict is not Verdict.OK]
    advice = list(to_do(state, judged, bad))
    write_answer(as_json, outcome(state, judged, advice), as_text(state, judged, advice), LABEL)
    return not bad and state.is_ready


def show(bar: TransferBar, transfer: Transfer) -> None:
    bar.show("checking", transfer.path, transfer.all_done, transfer.all_total)


def outcome(state: ModelState, judged: Sequence[Verified], advice: list[str]) -> dict[str, object]:
    files = [{"path": one.path, "verdict": one.verdict, "reason": one.reason} for one in judged]
    return {
        "model": state.model.id,
        "folder": str(state.folder),
        "files": files,
        "ready": state.is_ready,
        "problems": state.problems,
        "to_do": advice,
    }


def as_text(state: ModelState, judged: Sequence[Verified], advice: Sequence[str]) -> Iterator[str]:
    yield f"{state.model.id} in {state.folder}"
    if not judged and state.model.embedded:
        yield "no hashes are recorded: it is part of Bildwerk"
    for one in judged:
        yield f"{one.verdict:8} {one.path}{': ' if one.reason else ''}{one.reason}"
    for problem in () if any(one.verdict is not Verdict.OK for one in judged) else state.problems:
        yield f"problem  {problem}"
    for sentence in advice:
        yield f"to do    {sentence}"


def to_do(state: ModelState, judged: Sequence[Verified], bad: Sequence[Verified]) -> Iterator[str]:
    if not judged and not state.model.embedded:
        yield nothing_recorded(state)
    for repository in sorted({repository_of(one.record) or "" for one in bad}):
        files = [one for one in bad if (repository_of(one.record) or "") == repository]
        if repository:
            yield f"fetch anew with: {pull_command(state.model, repository, files)}"
        else:
            sources = ", ".join(one.record.source for one in files)
            yield f"import again, from files that are whole: {sources}"
    if not bad and judged and (advice := advice_here(state)) is not None:
        yield advice


def nothing_recorded(state: ModelState) -> str:
    if not state.folder.is_dir() or not state.is_ready:
        return str(advice_here(state))
    return (
        f"no hashes are recorded: bildwerk models pull {state.model.short_name} compares the files with the hub's and "
        "fetches those that differ; bildwerk models import records them as they are"
    )


def repository_of(record: Record) -> str | None:
    """The one that a file was fetched from; None for one that was on this machine."""
    repository = record.source.partition("@")[0]
    return repository if REPOSITORY.fullmatch(repository) else None


def pull_command(model: ModelSpec, repository: str, files: Sequence[Verified]) -> str:
    """One that fetches these files and no others."""
    is_own = repository == model.source
    paths = [one.record.source.partition(":")[2] for one in files]
    name = [model.short_name] if is_own else [repository, "--as", model.short_name]
    return shlex.join(["bildwerk", "models", "pull", *name, *(word for path in paths for word in ("--file", path))])
