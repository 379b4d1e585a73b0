"""`bildwerk models quantize`: a transformer in half the room."""

import sys
import time
from contextlib import closing
from pathlib import Path

from bildwerk.cli.failure import CommandError
from bildwerk.cli.machine import ENGINE_PACKAGES
from bildwerk.cli.progress_bar import ProgressBar
from bildwerk.cli.standard_output import write_answer


def quantize(source: Path, destination: Path, *, json: bool | None = None) -> None:
    """Write a transformer in eight bits: half the size of bfloat16, with a little less accuracy.

    To use it, move the transformer out of the model's folder, and take this one over: `bildwerk models import FILE --as
    MODEL`. Then `--precision int8` multiplies its very numbers on a CPU.

    Parameters
    ----------
    source
        A model's folder, its folder `transformer`, or a .safetensors or .gguf file.
    destination
        The .safetensors file to write. One that is there already is not overwritten.
    json
        Print a JSON object. Default: only where standard output is not a terminal.
    """
    try:
        from bildwerk.weights import quantize as work
        from bildwerk.weights.errors import WeightsError
    except ModuleNotFoundError as error:
        if error.name not in ENGINE_PACKAGES:
            raise
        raise CommandError(
            f"quantizing needs {error.name}, which is not installed: pip install 'bildwerk[engine]'"
        ) from error
    started, done = time.perf_counter(), 0
    try:
        with closing(ProgressBar(sys.stderr)) as bar, closing(work.quantize(source, destination)) as progress:
            for done, total in progress:
                bar.show("quantize", done, total)
    except (WeightsError, OSError) as error:
        raise CommandError(str(error)) from error
    size, seconds = destination.stat().st_size, round(time.perf_counter() - started, 1)
    facts = {"path": str(destination), "bytes": size, "tensors": done, "seconds": seconds}
    write_answer(json, facts, [f"{destination}  {size / 1e9:.2f} GB  {seconds} s"])
