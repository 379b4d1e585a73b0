"""How much memory and time a transformer of FLUX.1 [schnell]'s real shapes takes from an int8 file, on a CPU.

Writes a file of random weights that preserve variance (11.9 GB), drops it from the page cache, and in a fresh process
maps it, packs it and computes one step of a 256x256 picture (256 image and 256 text tokens).

    python -m bench.int8_file [--file PATH] [--write-only]

With `--file` it stays there, and is used again if it is there already.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.circumstances import ROOT, circumstances
from bench.gpu.networks import MODULATION_BIAS, REAL, on_meta
from bildwerk.engine.attention_backend import matmul_attention
from bildwerk.engine.cpu.features import cpu_features
from bildwerk.engine.cpu.path import accelerate_transformer
from bildwerk.engine.precision import Precision
from bildwerk.flux.attention import rotary_embedding
from bildwerk.flux.sampling import position_ids
from bildwerk.flux.transformer import Flux
from bildwerk.weights.assign import Target
from bildwerk.weights.load import build_transformer
from bildwerk.weights.places import Place
from bildwerk.weights.read_safetensors import open_safetensors
from bildwerk.weights.row_levels import RowLevels
from bildwerk.weights.sections import sections
from bildwerk.weights.signatures import Component
from bildwerk.weights.write_int8 import is_matrix, write_int8

RESULT = ROOT / "bench" / "results" / "int8_file.json"
SIDE, STEPS = 32, 4
"""In latent positions: 256 pixels."""
LIMIT_GIB = 20.0
LEVELS_DEVIATION = 73.3
"""Of whole numbers from -127 to 127, all equally likely."""
MEMORY = re.compile(r"^(VmHWM|VmRSS|RssAnon|RssFile):\s+(\d+) kB", re.MULTILINE)


def shapes() -> dict[str, tuple[int, ...]]:
    state = on_meta(lambda: Flux(REAL.transformer), torch.bfloat16).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def random_tensors(seed: int) -> Iterator[tuple[str, torch.Tensor | RowLevels]]:
    rng = np.random.default_rng(seed)
    for name, shape in shapes().items():
        if is_matrix(name, shape):
            levels = torch.from_numpy(rng.integers(-127, 128, shape, dtype=np.int8))
            yield name, RowLevels(levels, torch.full(shape[:1], shape[1] ** -0.5 / LEVELS_DEVIATION))
        else:
            deviation = 0.7 if MODULATION_BIAS.fullmatch(name) else 0.1
            yield name, torch.from_numpy(rng.normal(float(name.endswith("scale")), deviation, shape))


def write(path: Path) -> None:
    """Raises `WeightsError` before anything is written where the disk is too full."""
    expected, started = shapes(), time.perf_counter()
    with closing(write_int8(path, expected, random_tensors(0))) as progress:
        for done in progress:
            if done % 100 == 0 or done == len(expected):
                print(f"{done} of {len(expected)} tensors, {time.perf_counter() - started:.0f} s", flush=True)


def drop_from_cache(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def memory_gib() -> dict[str, float]:
    found = MEMORY.findall(Path("/proc/self/status").read_text())
    return {name: round(int(kib) / 2**20, 3) for name, kib in found}


@torch.inference_mode()
def measured(path: Path) -> dict[str, Any]:
    """In this process, which should be a fresh one."""
    seconds, memory, features = {}, {"imported": memory_gib()}, cpu_features()

    def note(stage: str, since: float) -> None:
        seconds[stage], memory[stage] = round(time.perf_counter() - since, 2), memory_gib()
        print(stage, seconds[stage], "s", memory[stage], file=sys.stderr, flush=True)

    begun = time.perf_counter()
    files = sections(open_safetensors(path))[Component.TRANSFORMER]
    model = build_transformer(Place(files), Target(torch.bfloat16))
    note("load", begun)

    begun = time.perf_counter()
    accelerate_transformer(model, Precision.INT8, features, matmul_attention)
    note("pack", begun)

    params, generator = model.params, torch.Generator().manual_seed(0)
    img, txt, pooled = (
        torch.randn(*shape, generator=generator).bfloat16()
        for shape in (
            (1, (SIDE // 2) ** 2, params.in_channels),
            (1, REAL.text_tokens, params.context_in_dim),
            (1, params.vec_in_dim),
        )
    )
    rotary = rotary_embedding(position_ids(REAL.text_tokens, SIDE, SIDE), params)
    begun = time.perf_counter()
    modulation = model.modulation(torch.linspace(1, 0.25, STEPS)[:, None], pooled)
    note(f"modulation of {STEPS} steps", begun)

    for name in ("first step", "second step"):
        begun = time.perf_counter()
        velocity = model(img, txt, rotary, modulation[0])
        note(name, begun)
    deviation = velocity.float().std().item()
    if not 0.1 <= deviation <= 10:
        raise SystemExit(f"the velocity has a standard deviation of {deviation}: these weights preserve no variance")
    return {
        "seconds": seconds,
        "memory_gib": memory,
        "peak_gib": memory_gib()["VmHWM"],
        "velocity_deviation": round(deviation, 3),
        "threads": torch.get_num_threads(),
        "kernels": features.kernels is not None,
    }


def measure(path: Path) -> dict[str, Any]:
    before = circumstances()
    drop_from_cache(path)
    command = [sys.executable, "-m", "bench.int8_file", "--measure", str(path)]
    child = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(child.stdout)
    return {
        "what": "a transformer of FLUX.1 [schnell]'s shapes from an int8 file that is not in the page cache, bfloat16 "
        "between its matrices, one step of 256 image and 256 text tokens, CPU",
        **before,
        "file_bytes": path.stat().st_size,
        "limit_gib": LIMIT_GIB,
        "within_limit": found["peak_gib"] <= LIMIT_GIB,
        "results": found,
    }


def report(path: Path) -> None:
    result = measure(path)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    peak = result["results"]["peak_gib"]
    print(f"peak {peak} GiB of {LIMIT_GIB}; {result['results']['seconds']}; written to {RESULT.relative_to(ROOT)}")
    if not result["within_limit"]:
        raise SystemExit(f"more than {LIMIT_GIB} GiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--write-only", action="store_true")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measured(arguments.measure)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        path = arguments.file or Path(scratch) / "transformer.safetensors"
        if not path.exists():
            write(path)
        if not arguments.write_only:
            report(path)


if __name__ == "__main__":
    main()
