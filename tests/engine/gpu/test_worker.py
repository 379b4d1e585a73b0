"""What the child process says while it makes itself warm, and of its warmth after each batch."""

import io
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from bildwerk.engine import engine as engine_module
from bildwerk.engine import worker
from bildwerk.engine.buckets import usual_buckets
from bildwerk.engine.frames import Frame, read_frame
from bildwerk.engine.gpu.accelerator import imitation
from bildwerk.engine.request import LostModelError, OutOfMemoryError
from tests.engine.gpu.toy import PLENTY, REQUEST, toy_spec


@pytest.fixture
def on_imitated_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "accelerator_of", lambda _device: imitation(PLENTY))


def frames(pipe: io.BytesIO) -> list[Frame]:
    pipe.seek(0)
    return list(iter(lambda: read_frame(pipe), None))


@pytest.mark.usefixtures("on_imitated_gpu")
def test_each_size_that_is_warm_is_told_and_each_batch_ends_with_what_was_not(random_model: Path) -> None:
    spec, told = toy_spec(random_model), io.BytesIO()
    header = {"engine": "flux", "spec": {**asdict(spec), "folder": str(spec.folder), "placement": "text-streamed"}}
    engine = worker.load_engine(header, told)
    sizes = [str(bucket) for bucket in usual_buckets(spec)]
    assert [frame.header for frame in frames(told)] == [
        {"kind": "warming", "bucket": size, "done": done, "total": len(sizes)}
        for done, size in enumerate([sizes[0], *sizes])
    ]
    inbox = worker.Inbox(io.BytesIO())
    [done] = frames(io.BytesIO(worker.run_batch(engine, [REQUEST], inbox, io.BytesIO())))
    assert done.header["warmth"] == asdict(engine.warmth)
    assert (engine.warmth.placement, engine.warmth.plain_runs) == ("text-streamed (bf16)", 0)


@pytest.mark.parametrize(
    ("error", "is_sticky"), [(LostModelError("gone"), True), (OutOfMemoryError("full"), False), (ValueError(), False)]
)
def test_only_a_lost_model_needs_a_new_process(error: Exception, is_sticky: bool) -> None:
    asked: Callable[[Exception], bool] = worker.is_sticky
    assert asked(error) == is_sticky
