"""A hub with one model in it, small and in the layout of diffusers."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from bildwerk.checkpoints.hub_access import HubAccess
from tests.hub_server import HubServer, hub_server

REPOSITORY = "painters/lake"
BULK = 300_000


def safetensors(data: bytes) -> bytes:
    entry = {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}
    header = json.dumps({"weight": entry}).encode()
    return len(header).to_bytes(8, "little") + header + data


def model_files() -> dict[str, bytes]:
    """As a repository of FLUX.1 looks: the folders, and much that a model is not loaded from."""
    modules = ("text_encoder", "text_encoder_2", "transformer", "vae")
    tokenizers = ("tokenizer", "tokenizer_2")
    index = {name: ["library", "Class"] for name in (*modules, *tokenizers, "scheduler")}
    noise = random.Random(7)
    return {
        ".gitattributes": b"",
        "README.md": b"# Lake",
        "model_index.json": json.dumps(index).encode(),
        "flux1-lake.safetensors": safetensors(b"single"),
        "lake.ckpt": b"\x80\x02.",
        "scheduler/scheduler_config.json": b"{}",
        **{f"{name}/config.json": b"{}" for name in modules},
        **{f"{name}/model.safetensors": safetensors(name.encode()) for name in modules[:2]},
        "text_encoder/pytorch_model.bin": b"\x80\x02.",
        "text_encoder/model.fp16.safetensors": safetensors(b"half"),
        **{f"{name}/tokenizer_config.json": b"{}" for name in tokenizers},
        "tokenizer/vocab.json": b"{}",
        "tokenizer/merges.txt": b"#version: 0.2",
        "tokenizer_2/tokenizer.json": b"{}",
        "tokenizer_2/spiece.model": b"pieces",
        "transformer/diffusion_pytorch_model.safetensors": safetensors(noise.randbytes(BULK)),
        "vae/diffusion_pytorch_model.safetensors": safetensors(noise.randbytes(BULK // 2)),
    }


NEEDED = {
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "text_encoder_2/config.json",
    "text_encoder_2/model.safetensors",
    "tokenizer/merges.txt",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "tokenizer_2/tokenizer.json",
    "tokenizer_2/tokenizer_config.json",
    "transformer/config.json",
    "transformer/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
}
TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture
def hub_of_lakes() -> Iterator[HubServer]:
    with hub_server({REPOSITORY: model_files()}) as server:
        yield server


def access_to(server: HubServer, cache: Path, token: str | None = None) -> HubAccess:
    return HubAccess(server.endpoint, cache / "hub", cache / "token", token, "HF_TOKEN" if token else "")
