"""`bildwerk models pull`: fetch a model's weights from the hub."""

import os
from typing import Annotated

from cyclopts import Parameter

from bildwerk.checkpoints.hub import Hub
from bildwerk.checkpoints.hub_access import hub_access
from bildwerk.checkpoints.pull import Pulled, pull
from bildwerk.checkpoints.wanted import Planned, Transfer
from bildwerk.cli.failure import ExitCode
from bildwerk.cli.model_state import state_of
from bildwerk.cli.pull_order import destination, wanted_files
from bildwerk.cli.transfer_report import open_transfer_report

LIST = Parameter(negative="", show_default=False)


def pull_model(
    model: str,
    *,
    revision: str = "main",
    as_model: Annotated[str | None, Parameter(name="--as")] = None,
    file: Annotated[tuple[str, ...], LIST] = (),
    without: Annotated[tuple[str, ...], LIST] = (),
    json: bool | None = None,
) -> int:
    """Fetch a model's weights from the hub, go on where an earlier pull stopped, and verify every file.

    HF_TOKEN, HF_ENDPOINT and HF_HOME mean what they mean to huggingface_hub. Ends with 1 if the model is not complete
    afterwards.

    Parameters
    ----------
    model
        Id or short name of a model; or a repository, owner/name.
    revision
        Branch, tag or commit of the repository.
    as_model
        The model that the files are for, where the repository is not the one that it comes from.
    file
        Fetch these files instead of the model's folders, such as one .safetensors or .gguf file; * stands for anything.
        Can be given more than once.
    without
        Leave out this folder of the model, such as transformer. Can be given more than once.
    json
        Print one JSON object a line. Default: only where standard output is not a terminal.
    """
    to = destination(model, as_model)
    with Hub(hub_access(os.environ)) as hub, open_transfer_report(json) as report:
        wanted = wanted_files(hub, to, revision, file, without)
        source = f"{to.repository} at {wanted[0].listing.commit[:12]}"
        try:
            for event in pull(hub, wanted, to.folder):
                match event:
                    case Planned():
                        report.plan(event, source)
                    case Transfer():
                        report.progress(event)
                    case Pulled():
                        state = state_of(to.model)
                        report.end(state, list(event.fetched))
        except KeyboardInterrupt:
            report.say("what came is kept: the same command goes on with it")
            raise
    return ExitCode.OK if state.is_ready else ExitCode.EXPECTED
