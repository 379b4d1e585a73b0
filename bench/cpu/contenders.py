"""Who is measured against whom: each contender is a process of its own, and each heat a set that runs in turn."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.circumstances import ROOT
from bildwerk.engine.request import ENGINE_ENVIRONMENT

HERE = "the interpreter that runs the bench"
PEERS = "the interpreter that --peers-python names"
DIFFUSERS = "pip install 'bildwerk[dev]'"
OPENVINO = "pip install torch diffusers safetensors openvino, and --peers-python"
OPENVINO_INT8 = f"{OPENVINO}; pip install nncf"
SDCPP = (
    'CMAKE_ARGS="-DGGML_NATIVE=ON -DGGML_LLAMAFILE=ON -DGGML_OPENMP=ON" '
    "pip install stable-diffusion-cpp-python, and --peers-python"
)

OURS_BF16, OURS_INT8, OURS_EAGER = "ours, bf16", "ours, int8", "ours, as written"
BASE = "diffusers, bf16"
COMPILED, FROZEN = "diffusers, compiled", "diffusers, compiled, frozen"
SDCPP_BF16, SDCPP_Q8 = "stable-diffusion.cpp, bf16", "stable-diffusion.cpp, q8_0"
CEILINGS = "ceilings"


@dataclass(frozen=True, slots=True)
class Entry:
    """One contender: the module that is run, the way it is told, and how to get what it needs."""

    name: str
    module: str
    way: str
    install: str = ""
    python: str = HERE
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self, peers_python: str, *arguments: str) -> list[str]:
        python = peers_python if self.python is PEERS else sys.executable
        return [python, "-m", f"bench.cpu.workers.{self.module}", self.way, *arguments]

    def surroundings(self, threads: int) -> dict[str, str]:
        own = {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "KMP_", "MKL_"))}
        return inherited | own | self.environment


@dataclass(frozen=True, slots=True)
class Heat:
    """Contenders that are measured in turn, at each of the sides in pixels or only at the first."""

    name: str
    entries: tuple[Entry, ...]
    what: str
    all_sides: bool = True
    decodes: bool = False


def _ours(name: str, way: str) -> Entry:
    return Entry(name, "ours", way, environment=ENGINE_ENVIRONMENT)


def _diffusers(name: str, way: str) -> Entry:
    return Entry(name, "diffusers_step", way, DIFFUSERS)


def _openvino(name: str, way: str, install: str) -> Entry:
    return Entry(name, "openvino_step", way, install, PEERS)


def _sdcpp(name: str, way: str) -> Entry:
    return Entry(name, "sdcpp_step", way, SDCPP, PEERS)


_BASE, _BF16, _INT8 = _diffusers(BASE, "bf16"), _ours(OURS_BF16, "bf16"), _ours(OURS_INT8, "int8")
_OPENVINO = _openvino("OpenVINO, bf16", "bf16", OPENVINO)
_AS_WRITTEN = _ours(OURS_EAGER, "eager")
_CEILINGS = Entry(CEILINGS, "ceilings", "all")

HEATS = (
    Heat("diffusers", (_BASE, _BF16, _INT8, _AS_WRITTEN, _CEILINGS), "one step of denoising"),
    Heat(
        "compiled",
        (_BASE, _BF16, _INT8, _diffusers(COMPILED, "compiled"), _diffusers(FROZEN, "frozen")),
        "one step of denoising",
        all_sides=False,
    ),
    Heat(
        "openvino",
        (
            _BASE,
            _BF16,
            _INT8,
            _OPENVINO,
            _openvino("OpenVINO, int8", "int8", OPENVINO_INT8),
        ),
        "one step of denoising",
        all_sides=False,
    ),
    Heat(
        "sdcpp",
        (
            _BASE,
            _BF16,
            _INT8,
            _sdcpp(SDCPP_BF16, "bf16"),
            _sdcpp(SDCPP_Q8, "q8_0"),
            _sdcpp("stable-diffusion.cpp, q4_0", "q4_0"),
        ),
        "one step of denoising",
        all_sides=False,
    ),
    Heat(
        "decoder",
        (
            _ours("ours, bf16", "decoder"),
            _diffusers("diffusers, bf16", "decoder"),
            _diffusers("diffusers, bf16, channels_last", "decoder channels_last"),
            _diffusers("diffusers, float32", "decoder float32"),
            _sdcpp("stable-diffusion.cpp", "decoder"),
        ),
        "decoding one picture",
        all_sides=False,
        decodes=True,
    ),
)

EXACT = Entry("float32", "reference", "float32")
PLAIN_INT8, GUTTED = "plain rounding to int8", "blocks that do nothing"
JUDGED = (
    _BF16,
    _INT8,
    _AS_WRITTEN,
    _BASE,
    _OPENVINO,
    Entry(PLAIN_INT8, "reference", "plain int8"),
    Entry(GUTTED, "reference", "gutted"),
)
"""Whose velocities are compared with those of `EXACT`."""
