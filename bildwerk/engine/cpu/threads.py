"""How many threads fit: torch takes one for each core of the machine, also where a container may use but two."""

import os

import torch

from bildwerk.engine.cpu.cores import usable_cores

VARIABLE = "OMP_NUM_THREADS"


def use_fitting_threads() -> None:
    """For the whole process; whoever sets OMP_NUM_THREADS has decided already."""
    if VARIABLE not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
