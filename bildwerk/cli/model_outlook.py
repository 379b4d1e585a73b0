"""What a person reads about a model on this machine: is it here, does it fit, and how fast is it?"""

from collections.abc import Iterator, Sequence
from typing import Any

from bildwerk.cli.model_state import ModelState

ESTIMATE = (
    "           Times are estimates: the operations of one picture at three quarters of the rate of plain matrix "
    "products, measured just now."
)
MINUTE, HOUR = 60, 3600


def about_model(state: ModelState, outlooks: Sequence[dict[str, Any]]) -> Iterator[str]:
    """outlooks: `engine.outlook.Outlook`, one a device."""
    yield f"model      {state.model.id}: {'ready' if state.is_ready else state.problems[0]}"
    for outlook in outlooks:
        yield f"           on {outlook['device']}: {memory(outlook)}; {speed(state, outlook)}"
        if outlook.get("plans"):
            yield f"           placements on {outlook['device']}: {placements(outlook['plans'])}"


def placements(plans: Sequence[dict[str, Any]]) -> str:
    """plans: `engine.outlook.PlanOutlook`, best first. Loading takes the first that fits; `--placement` another."""
    chosen = next((plan for plan in plans if plan["fits"]), None)
    needs = ", ".join(f"{plan_name(plan)} {plan['gib']} GiB" for plan in plans)
    if chosen is None:
        return f"none fits of {needs}"
    return f"{plan_name(chosen)} is the best that fits; {needs}"


def plan_name(plan: dict[str, Any]) -> str:
    text = "" if plan["text"] == "bf16" else f" with the text in {plan['text']}"
    return f"{plan['placement']} in {plan['precision']}{text}"


def memory(outlook: dict[str, Any]) -> str:
    """Smaller files are of interest only where the usual ones do not fit."""
    widest, *smaller = outlook["needs_gib"]
    looked_at = [widest] if widest in outlook["fits"] else [widest, *smaller]
    needs = ", ".join(
        f"{name} {'fits' if name in outlook['fits'] else 'does not fit'} ({outlook['needs_gib'][name]} GiB)"
        for name in looked_at
    )
    free = "unknown memory" if outlook["free_gib"] is None else f"{outlook['free_gib']} GiB free"
    return f"{free}, {needs}"


def speed(state: ModelState, outlook: dict[str, Any]) -> str:
    numbers = state.model.engine
    picture = f"{numbers.default_width}x{numbers.default_height} in {numbers.default_steps} steps"
    return f"{picture} takes about {duration(outlook['seconds'])} ({outlook['gflops']:,.0f} GFLOP/s)"


def duration(seconds: float) -> str:
    """Rounded as an estimate deserves."""
    if seconds < 1:
        return "a second or less"
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * HOUR:
        return f"{seconds / MINUTE:.0f} min"
    return f"{seconds / HOUR:.0f} h"
