"""`bildwerk models`: what can be asked for, and whether its files are here. What moves files has a file of its own."""

from cyclopts import App

from bildwerk.cli.model_advice import advice_here
from bildwerk.cli.model_files import named_model
from bildwerk.cli.model_state import ModelState, state_of
from bildwerk.cli.standard_output import write_answer
from bildwerk.domain.catalog import load_catalog

models = App(name="models", help="The models that can be asked for.")
MOVING = {
    "pull": ("bildwerk.cli.commands.pull:pull_model", "Fetch a model's weights from the hub."),
    "import": ("bildwerk.cli.commands.import_files:import_files", "Take over files that are on this machine already."),
    "verify": ("bildwerk.cli.commands.verify:verify_models", "Is every file still what it was when it came?"),
    "remove": ("bildwerk.cli.commands.remove_files:remove_files", "Remove a model's files from this machine."),
    "quantize": ("bildwerk.cli.commands.quantize:quantize", "Write a transformer in eight bits: half the size."),
}
for name, (import_path, purpose) in MOVING.items():
    models.command(import_path, name=name, help=purpose)


@models.command(name="list")
def list_models(*, json: bool | None = None) -> None:
    """List every model, and whether it can be used here.

    Parameters
    ----------
    json
        Print one JSON object a line. Default: only where standard output is not a terminal.
    """
    for model in load_catalog().values():
        state = state_of(model)
        readiness = "ready" if state.is_ready else "files missing"
        write_answer(json, state.as_json(), [f"{model.id:32} {readiness:14} {model.display_name}"])


@models.command
def show(model: str, *, json: bool | None = None) -> None:
    """Show one model: its numbers, where its files lie, and what is wrong with them.

    Parameters
    ----------
    model
        Id or short name.
    json
        Print a JSON object. Default: only where standard output is not a terminal.
    """
    state = state_of(named_model(model))
    to_do = advice_here(state)
    lines = (f"{name:16} {value}" for name, value in facts(state, to_do))
    write_answer(json, state.as_json() | {"advice": to_do}, lines, indent=17)


def facts(state: ModelState, to_do: str | None) -> list[tuple[str, object]]:
    model, numbers = state.model, state.model.engine
    lines: list[tuple[str, object]] = [
        ("id", model.id),
        ("short name", model.short_name),
        ("name", f"{model.display_name} by {model.organization}, {model.license}"),
        ("description", model.description),
        ("parameters", f"{model.parameters:,}"),
        ("sizes", f"{numbers.min_side} to {numbers.max_side} a side; {numbers.default_width}x{numbers.default_height}"),
        ("steps", f"1 to {numbers.max_steps}; {numbers.default_steps}"),
        ("prompt", f"{numbers.max_text_tokens} tokens are read"),
        ("price", f"${model.price_per_image / 1_000_000:.4f} a picture, when served"),
        ("folder", state.folder),
        ("state", "ready" if state.is_ready else "; ".join(state.problems)),
    ]
    return lines if to_do is None else [*lines, ("to do", to_do)]
