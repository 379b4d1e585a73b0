"""What was ordered on the command line, checked before anything heavy is loaded."""

import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bildwerk.checkpoints.loras import Loras
from bildwerk.cli.failure import CommandError, UsageError
from bildwerk.cli.lora_options import chosen_loras
from bildwerk.cli.model_advice import complete_folder
from bildwerk.cli.model_files import engine_spec, models_folder, named_model
from bildwerk.cli.output_file import check_placeholders, check_writable, format_of, numbered
from bildwerk.cli.picture_size import parse_size
from bildwerk.domain.catalog import ModelSpec
from bildwerk.engine.fitting import fit
from bildwerk.engine.request import MAX_SEED, EngineSpec, GenerateRequest

MAX_PICTURES = 100
RANDOM_SEED = -1


@dataclass(frozen=True, slots=True)
class Wishes:
    """The command line as it was typed; None where nothing was said."""

    prompt: str | None
    output: Path
    size: str | None = None
    steps: int | None = None
    seed: int | None = None
    n: int = 1
    model: str = "flux-tiny"
    guidance: float | None = None
    loras: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """What remains to be computed and written, and what had to be moved to make it possible."""

    spec: EngineSpec
    request: GenerateRequest
    warnings: tuple[str, ...]
    output: Path
    max_batch: int

    def batches(self) -> Iterator[GenerateRequest]:
        """The request in parts of as many pictures as the model makes at once."""
        for first in range(0, self.request.num_images, self.max_batch):
            count = min(self.max_batch, self.request.num_images - first)
            yield replace(self.request, seed=self.request.seed + first, num_images=count)

    def path_of(self, seed: int) -> Path:
        return numbered(self.output, seed - self.request.seed + 1, self.request.num_images, seed)


def take_order(wishes: Wishes) -> Order:
    """Raises `CommandError` for whatever can be known to fail before the model is loaded."""
    model = named_model(wishes.model)
    if not 1 <= wishes.n <= MAX_PICTURES:
        raise UsageError(f"number of pictures {wishes.n} is outside 1 to {MAX_PICTURES}")
    check_placeholders(wishes.output)
    request = requested(model, wishes, format_of(wishes.output))
    spec = engine_spec(model, complete_folder(model))
    if wishes.loras:
        request = replace(request, loras=chosen_loras(model, wishes.loras))
        spec = replace(spec, loras_folder=Loras(models_folder()).folder(model.id))
    try:
        fitted = fit(spec, request)
    except ValueError as error:
        raise UsageError(str(error)) from error
    order = Order(spec, fitted.request, fitted.warnings, wishes.output, model.max_images)
    for number in range(wishes.n):
        check_writable(order.path_of(request.seed + number))
    return order


def requested(model: ModelSpec, wishes: Wishes, output_format: str) -> GenerateRequest:
    numbers = model.engine
    native = (numbers.default_width, numbers.default_height)
    width, height = native if wishes.size is None else parse_size(wishes.size)
    return GenerateRequest(
        prompt=read_prompt(wishes.prompt, model.max_prompt_characters),
        width=width,
        height=height,
        steps=numbers.default_steps if wishes.steps is None else wishes.steps,
        seed=random_seed(wishes.n) if wishes.seed in (None, RANDOM_SEED) else wishes.seed,
        num_images=wishes.n,
        guidance=wishes.guidance,
        output_format=output_format,
    )


def random_seed(pictures: int) -> int:
    """One that leaves room for the seeds of the other pictures."""
    return secrets.randbelow(MAX_SEED + 2 - pictures)


def read_prompt(prompt: str | None, limit: int) -> str:
    """What was typed, or piped in. Bytes that are no text become question marks.

    Raises `CommandError` where there is nothing, and for more than `limit` characters.
    """
    if prompt is None and sys.stdin.isatty():
        raise UsageError("say what the picture should show: bildwerk generate 'a lake at dawn'")
    typed = read_piped(limit + 1) if prompt is None else prompt
    text = typed.encode(errors="replace").decode()
    if len(text) > limit:
        raise UsageError(f"the prompt has more than {limit:,} characters, which is the limit")
    return text.strip()


def read_piped(limit: int) -> str:
    try:
        return sys.stdin.read(limit)
    except OSError as error:
        raise CommandError(f"cannot read the prompt from standard input: {error}") from error
