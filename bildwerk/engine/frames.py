"""What parent and child say to each other over two pipes: one JSON object and, after it, bytes.

A frame is the length of the header and the length of the payload (4 bytes each, big-endian), the header, the payload.
Parent to child: `load` (first), `batch`, `cancel`. Child to parent: any number of `warming`, then `ready` or `error`;
and for each batch any number of `progress` and `image` (the payload is the file), and at its end `done` or `error`.
"""

import asyncio
import json
import struct
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from bildwerk.engine.request import GeneratedImage, GenerateRequest, LoraChoice, Progress

LENGTHS = struct.Struct(">II")
MAX_HEADER_BYTES = 16_000_000
MAX_PAYLOAD_BYTES = 256_000_000


class BrokenFrame(Exception):
    """The other side says something that is no frame."""


@dataclass(frozen=True, slots=True)
class Frame:
    header: dict[str, Any]
    payload: bytes = b""

    @property
    def kind(self) -> str:
        return str(self.header["kind"])


def pack(header: dict[str, Any], payload: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return LENGTHS.pack(len(text), len(payload)) + text + payload


def lengths(head: bytes) -> tuple[int, int]:
    """The lengths in bytes of header and payload. Raises `BrokenFrame` for what nobody would send."""
    header_bytes, payload_bytes = LENGTHS.unpack(head)
    if header_bytes > MAX_HEADER_BYTES or payload_bytes > MAX_PAYLOAD_BYTES:
        raise BrokenFrame(f"a frame of {header_bytes} + {payload_bytes} bytes")
    return header_bytes, payload_bytes


def unpack(header: bytes, payload: bytes) -> Frame:
    try:
        frame = Frame(json.loads(header), payload)
        if not isinstance(frame.header.get("kind"), str):
            raise BrokenFrame("a frame without a kind")
    except (ValueError, AttributeError) as error:
        raise BrokenFrame(str(error)) from error
    return frame


def read_frame(stream: BinaryIO) -> Frame | None:
    """The next frame of a blocking stream, or None at its end."""
    head = stream.read(LENGTHS.size)
    if len(head) < LENGTHS.size:
        return None
    header_bytes, payload_bytes = lengths(head)
    return unpack(stream.read(header_bytes), stream.read(payload_bytes))


async def receive_frame(stream: asyncio.StreamReader) -> Frame:
    """The next frame. Raises `asyncio.IncompleteReadError` at the stream's end and `BrokenFrame`."""
    header_bytes, payload_bytes = lengths(await stream.readexactly(LENGTHS.size))
    header = await stream.readexactly(header_bytes)
    return unpack(header, await stream.readexactly(payload_bytes) if payload_bytes else b"")


def batch_frame(requests: list[GenerateRequest]) -> bytes:
    return pack({"kind": "batch", "requests": [request_fields(request) for request in requests]})


def request_fields(request: GenerateRequest) -> dict[str, Any]:
    """`asdict` takes 10 times as long; it copies every text."""
    fields = {name: getattr(request, name) for name in GenerateRequest.__slots__}
    return fields | {"loras": [asdict(lora) for lora in request.loras]}


def batch_requests(frame: Frame) -> list[GenerateRequest]:
    return [
        GenerateRequest(**{**fields, "loras": tuple(LoraChoice(**lora) for lora in fields["loras"])})
        for fields in frame.header["requests"]
    ]


def event_frame(event: Progress | GeneratedImage) -> bytes:
    if isinstance(event, Progress):
        return pack({"kind": "progress", "stage": event.stage, "done": event.done, "total": event.total})
    fields = {name: getattr(event, name) for name in GeneratedImage.__slots__ if name != "data"}
    return pack({"kind": "image", "image": fields}, event.data)


def frame_event(frame: Frame) -> Progress | GeneratedImage:
    """The event in a `progress` or `image` frame. Raises `BrokenFrame` for a header with other fields."""
    try:
        if frame.kind == "progress":
            return Progress(frame.header["stage"], frame.header["done"], frame.header["total"])
        fields = dict(frame.header["image"])
        return GeneratedImage(**{**fields, "data": frame.payload, "warnings": tuple(fields["warnings"])})
    except (KeyError, TypeError) as error:
        raise BrokenFrame(f"a {frame.kind} frame with other fields: {error}") from error
