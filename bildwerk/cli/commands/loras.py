"""`bildwerk loras`: the LoRAs that requests may name. A running service sees every change at once."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from bildwerk.checkpoints.loras import Loras, is_lora_name
from bildwerk.cli.engine_packages import needed_for
from bildwerk.cli.failure import CommandError
from bildwerk.cli.model_advice import complete_folder
from bildwerk.cli.model_files import models_folder, named_model
from bildwerk.cli.model_state import state_of
from bildwerk.cli.output_file import write_file
from bildwerk.cli.standard_output import write_answer
from bildwerk.domain.catalog import ModelSpec, load_catalog
from bildwerk.engine.request import EngineError

loras = App(name="loras", help="The LoRAs that requests may name: add, list and remove them.")


@loras.command
def add(
    file: Path,
    *,
    name: str | None = None,
    model: str | None = None,
    replace: Annotated[bool, Parameter(negative=())] = False,
    json: bool | None = None,
) -> None:
    """Check a LoRA file and put a copy of it in place, under a name that requests may use.

    Parameters
    ----------
    file
        A safetensors file with the names of diffusers, kohya or Black Forest Labs.
    name
        What requests call it: a-z, 0-9, '.', '_' and '-'. Default: the name of the file.
    model
        Id or short name of the model that it is for. Default: every model here that it fits.
    replace
        Take the place of one that has the name already.
    json
        Print one JSON object a line. Default: only where standard output is not a terminal.
    """
    stored, chosen = Loras(models_folder()), file.stem.lower() if name is None else name
    if name is None and not is_lora_name(chosen):
        raise CommandError(f"{file.name!r} makes no name that requests could use: give one with --name")
    models = [named_model(model)] if model is not None else ready_models()
    targets = {spec.id: stored.path(spec.id, chosen) for spec in models}
    data, fitting = checked(file, models)
    for model_id in fitting:
        if not replace and chosen in stored.names(model_id):
            raise CommandError(f"{model_id} has a LoRA {chosen} already: add --replace, or give another --name")
    for model_id, facts in fitting.items():
        put(targets[model_id], data)
        place = {"model": model_id, "name": chosen, "path": str(targets[model_id]), "bytes": len(data)}
        say_added(place | facts, json)


@loras.command(name="list")
def list_loras(*, model: str | None = None, json: bool | None = None) -> None:
    """List the LoRAs of every model.

    Parameters
    ----------
    model
        Id or short name of the only model to list.
    json
        Print one JSON object a line. Default: only where standard output is not a terminal.
    """
    stored = Loras(models_folder())
    for spec in chosen_models(model):
        for name in stored.names(spec.id):
            path = stored.path(spec.id, name)
            size = path.lstat().st_size
            facts = {"model": spec.id, "name": name, "path": str(path), "bytes": size}
            write_answer(json, facts, [f"{spec.id:32} {name:32} {size / 1e6:10.1f} MB"])


@loras.command
def remove(name: str, *, model: str | None = None, json: bool | None = None) -> None:
    """Delete a LoRA. What was asked for with it and has not begun will fail, and cost nothing.

    Parameters
    ----------
    name
        Its name, as `bildwerk loras list` shows it.
    model
        Id or short name of the only model to take it from. Default: all that have it.
    json
        Print one JSON object a line. Default: only where standard output is not a terminal.
    """
    stored = Loras(models_folder())
    owners = [spec.id for spec in chosen_models(model) if name in stored.names(spec.id)]
    if not owners:
        there = sorted({known for spec in chosen_models(model) for known in stored.names(spec.id)})
        raise CommandError(f"there is no LoRA {name[:100]!r}; there are: {', '.join(there) or 'none'}")
    for owner in owners:
        path = stored.path(owner, name)
        try:
            path.unlink()
        except OSError as error:
            raise CommandError(f"cannot delete {path}: {error.strerror}") from error
        write_answer(json, {"event": "removed", "model": owner, "name": name}, [f"removed {name} of {owner}"])


def chosen_models(name: str | None) -> list[ModelSpec]:
    return list(load_catalog().values()) if name is None else [named_model(name)]


def ready_models() -> list[ModelSpec]:
    return [spec for spec in load_catalog().values() if spec.max_loras and state_of(spec).is_ready]


def checked(file: Path, models: list[ModelSpec]) -> tuple[bytes, dict[str, dict[str, object]]]:
    """The file's content, and what it changes of each model that it fits. Raises `CommandError` where it fits none."""
    folders = {spec.id: complete_folder(spec) for spec in models}
    with needed_for("checking a LoRA"):
        from bildwerk.engine.lora_check import check_fits, read_file
    try:
        content = read_file(file)
    except EngineError as error:
        raise CommandError(str(error)) from error
    fitting: dict[str, dict[str, object]] = {}
    misfits: list[str] = []
    for model_id, folder in folders.items():
        try:
            facts = check_fits(content, folder)
        except EngineError as error:
            misfits.append(f"{model_id}: {error}")
        else:
            fitting[model_id] = {"layers": facts.layers, "ranks": list(facts.ranks)}
    if not fitting:
        raise CommandError("; ".join(misfits) or "there is no model here that it could be for")
    return content.data, fitting


def put(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"cannot make the folder {path.parent}: {error.strerror}") from error
    write_file(path, data)


def say_added(facts: dict[str, object], json: bool | None) -> None:
    sentence = f"added {facts['name']} for {facts['model']}: it changes {facts['layers']} layers"
    write_answer(json, {"event": "added", **facts}, [sentence])
