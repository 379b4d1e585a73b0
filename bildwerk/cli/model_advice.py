"""What is to be done about a model that cannot be used here; files that fit neither disk nor memory are not advised."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bildwerk.checkpoints.disk_space import MARGIN_BYTES, free_bytes, in_units
from bildwerk.cli.failure import CommandError
from bildwerk.cli.machine import package_version, read_devices
from bildwerk.cli.model_state import ModelState, state_of
from bildwerk.domain.catalog import ModelSpec

AS_IT_IS = "as it is here"
"""As the engine calls the files that are here."""
SMALLER = {"8 bits": 8.5 / 16, "4 bits": 4.5 / 16}
"""By the engine's names, what smaller files take of the published ones' room, about."""
ANOTHER_DISK = "set BILDWERK_MODELS to a folder on another disk"


def complete_folder(model: ModelSpec) -> Path:
    """The folder of a model whose files are all there and whole. Raises `CommandError` that says what to do."""
    state = state_of(model)
    if not state.is_ready:
        raise CommandError(f"{model.id} cannot be used: {state.problems[0]}; {advice_here(state)}")
    return state.folder


def advice_here(state: ModelState) -> str | None:
    """None for a model that is ready. Otherwise the devices are asked, which takes seconds."""
    if state.is_ready or state.model.embedded:
        return state.advice
    found = {} if package_version("torch") is None else read_devices({state.model.id: question(state)})
    outlooks = found.get("models", {}).get(state.model.id, [])
    return advice(state, outlooks if isinstance(outlooks, list) else [])


def can_lie(folder: Path) -> bool:
    """Whether there can be such a folder at all; its problems say why not."""
    try:
        folder.is_dir()
    except OSError:
        return False
    return True


def question(state: ModelState) -> dict[str, object]:
    """`engine.outlook.Asked`, about a picture as the model makes it unless told otherwise."""
    numbers = state.model.engine
    return {
        "folder": str(state.folder) if state.is_ready else None,
        "dtype": numbers.dtype,
        "width": numbers.default_width,
        "height": numbers.default_height,
        "steps": numbers.default_steps,
        "text_tokens": numbers.max_text_tokens,
    }


def advice(state: ModelState, outlooks: Sequence[Mapping[str, Any]], free: int | None = None) -> str | None:
    """outlooks: `engine.outlook.Outlook`, one a device, none where nobody could say; free: bytes on the disk."""
    needs: Mapping[str, float] = outlooks[0]["needs_gib"] if outlooks else {}
    if not can_lie(state.folder):
        return state.advice
    sizes = {} if state.is_ready else bytes_to_come(state)
    room = free_bytes(state.folder) if free is None else free
    in_memory = [name for name in needs or sizes if not needs or any(name in one["fits"] for one in outlooks)]
    on_disk = [name for name in needs or sizes if sizes.get(name, 0) <= room]
    fitting = [name for name in in_memory if name in on_disk]
    widest = next(iter(needs or sizes), None)
    if widest is None or widest in fitting:
        return state.advice
    if not in_memory:
        smallest = min(needs, key=lambda name: needs[name])
        return f"no device here has the {needs[smallest]} GiB that {state.model.id} needs even with {smallest}"
    reasons = []
    if widest not in in_memory:
        reasons.append(f"{widest if widest == AS_IT_IS else f'in {widest}'} it fits no device here")
    if widest not in on_disk:
        disk = f"the disk of {state.folder.parent}, which has {in_units(room)} free"
        reasons.append(f"its files, {in_units(sizes[widest])} with room to spare, do not fit {disk}")
    if not fitting:
        return f"{' and '.join(reasons)}, nor would smaller files: make room, or {ANOTHER_DISK}"
    return f"{' and '.join(reasons)}: {smaller_way(state.model, fitting[0])}"


def bytes_to_come(state: ModelState) -> dict[str, int]:
    """By precision, the widest first: what files that are not here yet would take, and the margin."""
    published = state.model.files_bytes
    if not published:
        return {}
    here = sum(path.lstat().st_size for path in _files(state.folder))
    shares = {state.model.engine.dtype: 1.0} | SMALLER
    return {name: max(0, int(published * share) - here) + MARGIN_BYTES for name, share in shares.items()}


def smaller_way(model: ModelSpec, precision: str) -> str:
    return (
        f"take transformer and T5 as files of {precision} (fp8 or GGUF) from "
        f"repositories that have them, each with bildwerk models pull OWNER/NAME --file FILE --as {model.short_name}, "
        f"and the rest with bildwerk models pull {model.short_name} --without transformer --without text_encoder_2"
    )


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)
