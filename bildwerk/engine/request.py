"""What is asked of an engine and what comes back: the one seam between the picture half and the business half.

Plain frozen values and a Protocol; no torch, no HTTP, no database.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

MAX_LORAS = 5
"""Of one request."""
MAX_LORA_SCALE = 4.0
"""How strongly one may be applied, also against its direction."""
IMAGE_FORMATS = ("png", "jpeg", "webp")
MAX_SEED = 2**32 - 1
ENGINE_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}
"""What a process that computes should have in its environment before torch is loaded, unless it says otherwise.
By default torch's threads spin while they wait; where other processes want the same cores, that made a picture three
times slower."""


class EngineError(Exception):
    """A model cannot be loaded, or this machine cannot run it; the text says which and why in one sentence."""


class OutOfMemoryError(EngineError, MemoryError):
    """The device has too little memory for a model, or for a batch; a smaller batch may still do."""


class LostModelError(EngineError):
    """The engine has given up its model to load another one, and could not: only a new process can help."""


class LoraError(EngineError, ValueError):
    """A LoRA that a request names is not there, is not the one that was meant, or does not fit the model."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """One loadable model, by its numbers: where its files lie and what it may be asked for. Sides are in pixels."""

    id: str
    folder: Path
    default_width: int = 1024
    default_height: int = 1024
    default_steps: int = 4
    max_steps: int = 4
    max_text_tokens: int = 256
    size_multiple: int = 16
    min_side: int = 64
    max_side: int = 2048
    max_pixels: int = 4_200_000
    max_native_pixels: int | None = None
    """Above this area the picture is made at the nearest trained size and scaled up; None: any area is native."""
    default_guidance: float | None = None
    """None: the model has no guidance input."""
    dtype: str = "bfloat16"
    """Torch's name of the type to compute in, where the caller does not choose one."""
    precision: str | None = None
    """What the layers that see every token multiply in: bf16, fp8, int8 or int4, beside bfloat16. None: as dtype."""
    placement: str | None = None
    """Where its parts lie on a GPU: resident, text-streamed, modulation-streamed or all-streamed. None: as fits."""
    loras_folder: Path | None = None
    """Where the LoRAs lie that requests may name; None: there are none."""


@dataclass(frozen=True, slots=True)
class LoraChoice:
    """A LoRA by its name in the spec's folder, and how strongly it is applied: 1 as it was made, 0 not at all.

    `version` pins the file: where it has become another one since, the request fails. `file` is the path of a file
    to take instead of the folder's; it is for owners at the command line and never comes from a client.
    """

    name: str
    scale: float = 1.0
    version: str | None = None
    file: str | None = None


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One prompt and what to make of it. Image i of `num_images` uses seed + i."""

    prompt: str
    width: int
    height: int
    steps: int
    seed: int
    num_images: int = 1
    guidance: float | None = None
    output_format: str = "png"
    embed_parameters: bool = True
    id: str = ""
    loras: tuple[LoraChoice, ...] = ()

    @property
    def active_loras(self) -> tuple[LoraChoice, ...]:
        """Those that change anything, always in one order: sums of floats depend on it."""
        return tuple(sorted((lora for lora in self.loras if lora.scale), key=lambda lora: (lora.name, lora.scale)))

    @property
    def batch_key(self) -> tuple[object, ...]:
        """Requests may share a batch exactly when their keys are equal."""
        loras = tuple((lora.name, lora.scale, lora.version, lora.file) for lora in self.active_loras)
        return (self.width, self.height, self.steps, self.guidance, loras)


@dataclass(frozen=True, slots=True)
class Progress:
    """One stage of a batch has moved on: `done` of `total` units of `stage` ('encode', 'denoise' or 'decode')."""

    stage: str
    done: int
    total: int


LOADING = Progress("load", 0, 1)
"""The model is loaded anew, since the memory ran out; it takes as long as any load, and then the batch begins again."""


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """One finished picture: the encoded file's bytes and the facts about it.

    `timings` are seconds by stage: `encode` and `denoise` of the batch that it was made in, `decode` of itself. What
    the caller does between two events is not in them.
    """

    request_id: str
    index: int
    data: bytes
    media_type: str
    width: int
    height: int
    seed: int
    warnings: tuple[str, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)


Event = Progress | GeneratedImage
IsCancelled = Callable[[str], bool]


def never_cancelled(_request_id: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Warmth:
    """What has been prepared, and what happened since although it had been.

    `placement` and `speed` name what is in use. `compiled` and `plain_runs` count from the end of the warm-up on: code
    that was compiled in the middle of a request, which should never be, and calls in shapes that were not prepared.
    """

    placement: str = "resident"
    speed: str = "as written"
    recorded: int = 0
    compiled: int = 0
    plain_runs: int = 0


class Engine(Protocol):
    """A loaded model. `FluxEngine` computes; `FakeEngine` paints a plain picture without torch."""

    @property
    def spec(self) -> EngineSpec: ...

    @property
    def warmth(self) -> Warmth: ...

    def generate(
        self, requests: Sequence[GenerateRequest], is_cancelled: IsCancelled = never_cancelled
    ) -> Iterator[Event]:
        """Make all pictures of one batch key, yielding progress at every step boundary.

        The pictures come in the order of the requests, each after its own `decode` progress, as soon as its file is
        written and at the latest after the last row was decoded.

        `is_cancelled(request.id)` is asked before every step and before every row's decoding. A request for which it
        turns true costs nothing from there on and yields no picture; closing the iterator drops the whole batch.

        Raises `ValueError` for requests whose batch keys differ or whose numbers the spec does not allow, `LoraError`
        for a LoRA that cannot be used, and `EngineError` where the model computes no picture or the memory does not
        suffice (`OutOfMemoryError`).
        """
        ...
