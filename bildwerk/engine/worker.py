"""The child process that computes: `python -m bildwerk.engine.worker`, batches in, events out, over its two pipes.

It holds no credentials, no database and no port. It ends with its parent: by the end of its standard input, which a
thread watches even while the engine computes, and by a death signal asked of the kernel.
"""

import ctypes
import gc
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from bildwerk.engine.buckets import usual_buckets
from bildwerk.engine.fake import FakeEngine
from bildwerk.engine.frames import Frame, batch_requests, event_frame, pack, read_frame
from bildwerk.engine.request import Engine, EngineError, EngineSpec, GenerateRequest, LostModelError

EXIT_STICKY_ERROR = 70
"""The accelerator, or the model on it, is in a state that only a new process can leave."""
PR_SET_PDEATHSIG = 1


class Inbox:
    """Frames from the parent: batches to be run in order, and cancellations that take effect at once."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._batches: queue.SimpleQueue[list[GenerateRequest]] = queue.SimpleQueue()
        self._cancelled: set[str] = set()

    def load_frame(self) -> Frame:
        frame = read_frame(self._stream)
        if frame is None:
            sys.exit(0)
        return frame

    def listen(self) -> None:
        threading.Thread(target=self._listen, name="inbox", daemon=True).start()

    def batches(self) -> Iterator[list[GenerateRequest]]:
        while True:
            yield self._batches.get()
            self._cancelled.clear()

    def is_cancelled(self, request_id: str) -> bool:
        return request_id in self._cancelled

    def _listen(self) -> None:
        while (frame := read_frame(self._stream)) is not None:
            if frame.kind == "batch":
                self._batches.put(batch_requests(frame))
            else:
                self._cancelled.update(frame.header["ids"])
        os._exit(0)  # the parent is gone; the main thread may be deep inside a kernel


def main() -> None:
    die_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM):  # whoever sends them to all of us means the parent, which finishes
        signal.signal(number, signal.SIG_IGN)
    outgoing = take_over_stdout()
    inbox = Inbox(sys.stdin.buffer)
    try:
        engine = load_engine(inbox.load_frame().header, outgoing)
    except EngineError as error:
        send(outgoing, pack({"kind": "error", "code": "engine_error", "message": str(error)}))
        sys.exit(1)
    inbox.listen()
    send(outgoing, pack({"kind": "ready", "warmth": asdict(engine.warmth)}))
    for requests in inbox.batches():
        send(outgoing, run_batch(engine, requests, inbox, outgoing))


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, and leave at once if that has happened already."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1:
        sys.exit(0)


def take_over_stdout() -> BinaryIO:
    """The pipe to the parent; from now on whatever a library prints goes to standard error."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return pipe


def load_engine(header: dict[str, Any], outgoing: BinaryIO) -> Engine:
    """Made warm for the usual sizes, where that is worth it; each of them is told."""
    fields = dict(header["spec"])
    paths = {name: Path(fields[name]) for name in ("folder", "loras_folder") if fields.get(name) is not None}
    spec = EngineSpec(**{**fields, **paths})
    if header["engine"] == "fake":
        return FakeEngine(spec, step_seconds=header["step_seconds"])
    from bildwerk.engine.engine import FluxEngine

    def tell(bucket: str, done: int, total: int) -> None:
        send(outgoing, pack({"kind": "warming", "bucket": bucket, "done": done, "total": total}))

    return FluxEngine.load(spec, buckets=usual_buckets(spec), on_warm=tell)


def run_batch(engine: Engine, requests: list[GenerateRequest], inbox: Inbox, outgoing: BinaryIO) -> bytes:
    """Send the events of one batch; returns the frame that ends it."""
    ending = try_batch(engine, requests, inbox, outgoing)
    if ending is not None and ending["code"] == "out_of_memory":
        release_memory()  # here, after the `except` block, whose traceback kept the tensors alive
    return pack({"kind": "done", "warmth": asdict(engine.warmth)} if ending is None else {"kind": "error", **ending})


def try_batch(
    engine: Engine, requests: list[GenerateRequest], inbox: Inbox, outgoing: BinaryIO
) -> dict[str, str] | None:
    """None, or the code and the message of what went wrong."""
    try:
        for event in engine.generate(requests, inbox.is_cancelled):
            send(outgoing, event_frame(event))
    except BrokenPipeError:
        os._exit(0)
    except Exception as error:
        if is_sticky(error):
            print(f"the accelerator failed: {error}", file=sys.stderr)  # noqa: T201
            os._exit(EXIT_STICKY_ERROR)
        return {"code": failure_code(error), "message": str(error)}
    return None


def failure_code(error: Exception) -> str:
    if isinstance(error, ValueError):
        return "invalid_input"
    if isinstance(error, MemoryError | torch_error("OutOfMemoryError")):
        return "out_of_memory"
    return "engine_error"


def is_sticky(error: Exception) -> bool:
    """Whether the model is lost, or the accelerator's context: everything that CUDA reports but a lack of memory."""
    if isinstance(error, LostModelError):
        return True
    out_of_memory = isinstance(error, torch_error("OutOfMemoryError"))
    return isinstance(error, torch_error("AcceleratorError")) and not out_of_memory


def torch_error(name: str) -> type[BaseException]:
    """An error class of torch where torch is loaded; else one that nothing is an instance of."""
    found = getattr(sys.modules.get("torch"), name, _NoSuchError)
    return found if isinstance(found, type) else _NoSuchError


class _NoSuchError(BaseException):
    pass


def release_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def send(outgoing: BinaryIO, frame: bytes) -> None:
    outgoing.write(frame)
    outgoing.flush()


if __name__ == "__main__":
    main()
