"""The real engine in a child process: a toy model with random weights, and one that is not there."""

import asyncio
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bildwerk.engine.request import EngineSpec, GeneratedImage, GenerateRequest
from bildwerk.fleet.child import Child, ChildDied, Launch
from bildwerk.fleet.local import LocalReplica, Supervision
from tests.inline_service import MODEL, tiny_spec

REQUEST = GenerateRequest("a lake", 64, 64, 1, 7, id="pred_1")


def launch(spec: EngineSpec) -> Launch:
    return Launch({"engine": "flux", "spec": {**asdict(spec), "folder": str(spec.folder)}}, load_seconds=300)


def test_a_picture_comes_out_of_the_real_engines_process(random_model: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    spec = replace(tiny_spec(), folder=random_model)

    async def paint() -> list[GeneratedImage]:
        replica = LocalReplica("tiny", frozenset({MODEL}), 4, launch(spec), Supervision(step_seconds=300))
        running = asyncio.create_task(replica.run())
        await replica.wait_until_ready()
        pictures = [event async for event in replica.generate([REQUEST]) if isinstance(event, GeneratedImage)]
        await replica.stop()
        await running
        return pictures

    (picture,) = asyncio.run(paint())
    assert (picture.width, picture.height, picture.seed) == (64, 64, 7)
    assert picture.data.startswith(b"\x89PNG")


def test_a_model_that_is_not_there_says_so(tmp_path: Path):
    with pytest.raises(ChildDied, match="cannot be loaded"):
        asyncio.run(Child.start(launch(replace(tiny_spec(), folder=tmp_path / "nothing"))))
