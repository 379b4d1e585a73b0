"""`bildwerk models import`: take over files of a model that are on this machine already."""

from collections import Counter
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bildwerk.checkpoints.adoption import Adopted, adopt
from bildwerk.checkpoints.placing import Manner
from bildwerk.checkpoints.wanted import Planned, Transfer
from bildwerk.cli.failure import CommandError, ExitCode
from bildwerk.cli.model_state import state_of
from bildwerk.cli.pull_order import destination_of
from bildwerk.cli.report import counted
from bildwerk.cli.transfer_report import open_transfer_report

MEANING = {
    Manner.REFLINK: "sharing their blocks with the originals (reflink), no further space taken",
    Manner.HARD_LINK: "as second names (hard link), no further space taken: do not change the originals in place",
    Manner.COPY: "copied",
}


def import_files(
    path: Path,
    *,
    as_model: Annotated[str | None, Parameter(name="--as")] = None,
    copy: bool = False,
    json: bool | None = None,
) -> int:
    """Take over files of a model that are on this machine already. They are checked, hashed, and stay where they are.

    Ends with 1 if the model is not complete afterwards.

    Parameters
    ----------
    path
        A folder in the layout of diffusers, a folder of the hub's cache, or one .safetensors or .gguf file.
    as_model
        The model that the files are for. Not needed for the cache of a model's own repository.
    copy
        Copy also where the files could be shared.
    json
        Print one JSON object a line. Default: only where standard output is not a terminal.
    """
    if not path.exists() and not path.is_symlink():
        raise CommandError(f"there is no file or folder {path}")
    to = destination_of(path, as_model)
    with open_transfer_report(json) as report:
        for event in adopt(path, to.folder, may_share=not copy):
            match event:
                case Planned():
                    report.plan(event, str(path))
                case Transfer():
                    report.progress(event)
                case Adopted():
                    for manner, number in Counter(event.manners.values()).items():
                        report.say(f"{counted(number, 'file')} {MEANING[manner]}")
                    state = state_of(to.model)
                    report.end(state, list(event.manners))
    return ExitCode.OK if state.is_ready else ExitCode.EXPECTED
