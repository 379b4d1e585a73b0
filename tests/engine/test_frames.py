"""What is packed on one side of a pipe is the same on the other, and nonsense is recognized."""

import asyncio
import io

import pytest

from bildwerk.engine.frames import (
    LENGTHS,
    BrokenFrame,
    batch_frame,
    batch_requests,
    event_frame,
    frame_event,
    pack,
    read_frame,
    receive_frame,
)
from bildwerk.engine.request import GeneratedImage, GenerateRequest, Progress

REQUEST = GenerateRequest("ein See 🏞", 512, 256, 4, 7, num_images=2, guidance=3.5, id="pred_1")
PICTURE = GeneratedImage("pred_1", 1, b"\x89PNG", "image/png", 512, 256, 8, ("cut",), {"denoise": 0.5})


@pytest.mark.parametrize("event", [Progress("denoise", 2, 4), PICTURE])
def test_an_event_survives_the_pipe(event: Progress | GeneratedImage):
    frame = read_frame(io.BytesIO(event_frame(event)))
    assert frame is not None
    assert frame_event(frame) == event


def test_a_batch_survives_the_pipe():
    frame = read_frame(io.BytesIO(batch_frame([REQUEST, REQUEST])))
    assert frame is not None
    assert batch_requests(frame) == [REQUEST, REQUEST]


def test_the_end_of_the_pipe_is_no_frame():
    assert read_frame(io.BytesIO(b"")) is None


async def receive(data: bytes) -> object:
    stream = asyncio.StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    return await receive_frame(stream)


BROKEN = {
    "too long": LENGTHS.pack(2**32 - 1, 0),
    "no JSON": LENGTHS.pack(3, 0) + b"abc",
    "no object": LENGTHS.pack(2, 0) + b"[]",
    "no kind": LENGTHS.pack(2, 0) + b"{}",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_frame_is_said_to_be_none(data: bytes):
    with pytest.raises(BrokenFrame):
        asyncio.run(receive(data))


def test_a_frame_cut_short_is_the_end_of_the_pipe():
    with pytest.raises(asyncio.IncompleteReadError):
        asyncio.run(receive(event_frame(PICTURE)[:-1]))


@pytest.mark.parametrize("header", [{"kind": "image", "image": {"index": 0}}, {"kind": "progress", "stage": "x"}])
def test_an_event_with_other_fields_is_broken(header: dict[str, object]):
    frame = read_frame(io.BytesIO(pack(header)))
    assert frame is not None
    with pytest.raises(BrokenFrame):
        frame_event(frame)
