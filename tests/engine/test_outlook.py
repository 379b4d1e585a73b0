"""What doctor says of memory and speed follows from shapes and a measured rate."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.gpu.flops import count
from bench.gpu.networks import REAL, TINY, Shapes
from bildwerk.engine.flop_count import picture_flops
from bildwerk.engine.gpu.footprint import GIB
from bildwerk.engine.gpu.placement import fitting
from bildwerk.engine.gpu.plan import plans
from bildwerk.engine.model_shapes import read_stored_model
from bildwerk.engine.networks import ModelShapes
from bildwerk.engine.outlook import PUBLISHED, Asked, matrix_rate, memory_needs, outlook
from bildwerk.engine.precision import Precision

SCHNELL = Asked(None, "bfloat16", 1024, 1024, 4, 256)


@pytest.mark.parametrize(("shapes", "side"), [(REAL, 1024), (REAL, 256), (TINY, 64)])
def test_the_operations_are_those_that_the_networks_do(shapes: Shapes, side: int) -> None:
    """Within the small layers that a formula may leave out."""
    model = ModelShapes(shapes.transformer, shapes.t5, shapes.clip, shapes.autoencoder)
    counted = count(shapes, side, side, steps=4).picture(4)
    assert picture_flops(model, side, side, 4, shapes.text_tokens) == pytest.approx(counted, rel=0.01)


def test_the_published_model_needs_its_34_gb_and_less_in_smaller_files() -> None:
    needs = {name: need / GIB for name, need in memory_needs(PUBLISHED, "bfloat16", 1024, 1024).items()}
    assert list(needs) == ["bfloat16", "8 bits", "4 bits"]
    assert 33.7e9 / GIB < needs["bfloat16"] < 33.7e9 / GIB + 3
    assert 16.9e9 / GIB < needs["8 bits"] < 16.9e9 / GIB + 4
    assert 9.5e9 / GIB < needs["4 bits"] < 9.5e9 / GIB + 3


@pytest.mark.parametrize(
    ("free_gib", "fits"),
    [(80, ("bfloat16", "8 bits", "4 bits")), (24, ("8 bits", "4 bits")), (12, ("4 bits",)), (8, ())],
)
def test_what_fits_depends_on_what_is_free(free_gib: int, fits: tuple[str, ...]) -> None:
    assert outlook(SCHNELL, PUBLISHED, "cuda:0", free_gib * GIB, 1e12).fits == fits


def test_the_seconds_are_the_operations_at_three_quarters_of_the_rate() -> None:
    found = outlook(SCHNELL, PUBLISHED, "cpu", None, 400e9)
    assert found.tflop == pytest.approx(290.75, abs=0.01)
    assert found.seconds == pytest.approx(290.75e12 / 300e9, rel=1e-4)
    assert found.fits == tuple(found.needs_gib)


def test_a_model_that_is_here_needs_what_its_files_hold(random_model: Path) -> None:
    weights = sum(path.stat().st_size for path in random_model.rglob("*.safetensors"))
    assert read_stored_model(random_model, 4).weight_bytes == pytest.approx(weights, rel=0.05)
    assert read_stored_model(random_model, 2).weight_bytes == pytest.approx(weights / 2, rel=0.05)


def test_a_rate_is_measured() -> None:
    assert matrix_rate(torch.device("cpu"), torch.float32, seconds=0) > 0


def test_a_model_whose_files_are_damaged_is_said_and_the_others_are_looked_at(tmp_path: Path) -> None:
    broken = Asked(str(tmp_path), "float32", 256, 256, 4, 64)
    question = {"models": {"broken": vars_of(broken), "schnell": vars_of(SCHNELL)}, "host_free_bytes": 20 * GIB}
    command = [sys.executable, "-m", "bildwerk.engine.outlook"]
    done = subprocess.run(command, input=json.dumps(question), capture_output=True, text=True, check=True)
    models = json.loads(done.stdout)["models"]
    assert "config.json" in models["broken"]["error"]
    assert models["schnell"][0]["device"] == "cpu"
    assert models["schnell"][0]["fits"] == ["8 bits", "4 bits"]


def vars_of(asked: Asked) -> dict[str, object]:
    return {name: getattr(asked, name) for name in asked.__dataclass_fields__}


def test_a_gpu_has_a_plan_for_every_placement_and_the_first_that_fits_is_what_loading_takes() -> None:
    on_gpu = outlook(SCHNELL, PUBLISHED, "cuda:0", 24 * 10**9, 400e12, eight_bits=Precision.INT8).plans
    assert {(plan.precision, plan.text) for plan in on_gpu} >= {("bf16", "bf16"), ("int8", "int8"), ("int4", "int8")}
    taken = fitting(24 * 10**9, PUBLISHED, plans((Precision.BF16, Precision.INT8)))[0]
    first = next(plan for plan in on_gpu if plan.fits)
    assert (first.placement, first.precision) == (taken.placement, taken.precision) == ("modulation-streamed", "bf16")
    assert outlook(SCHNELL, PUBLISHED, "cpu", 24 * 10**9, 1e12).plans == ()
