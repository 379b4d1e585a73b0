"""Whether speed has cost accuracy: the velocity of each way to compute, against float32 on the same weights."""

import sys

from safetensors.torch import load_file
from torch import Tensor

from bench.circumstances import ROOT
from bench.cpu.contenders import EXACT, JUDGED, Entry
from bench.cpu.conversation import AbsentError, Contender
from bench.cpu.heats import Setting
from bench.gpu.stages.parity import relative_error


def errors(side: int, setting: Setting) -> dict[str, float]:
    """Relative errors by contender; of those that are installed."""
    exact, found = _velocity(EXACT, side, setting), {}
    for entry in JUDGED:
        try:
            found[entry.name] = relative_error(_velocity(entry, side, setting), exact)
            print(f"  {entry.name}: {found[entry.name]:.2%}", file=sys.stderr, flush=True)
        except AbsentError as error:
            print(f"  {entry.name}: absent: {error}", file=sys.stderr, flush=True)
    return found


def _velocity(entry: Entry, side: int, setting: Setting) -> Tensor:
    """1 L 64, float32. One contender at a time, so that the memory of one suffices."""
    material = setting.material
    where = (str(material.folder), material.scale.name, str(side), str(setting.threads))
    path = material.files.result(entry.name, side)
    command = entry.command(setting.peers_python, *where)
    contender = Contender(entry.name, command, ROOT, entry.surroundings(setting.threads))
    try:
        contender.wait_until_ready()
        contender.ask(f"keep {path}")
    finally:
        contender.end()
    return load_file(path)["result"]
