"""What a person reads about a model on this machine: is it here, does it fit, how fast is it, what is to be done?"""

from collections.abc import Iterator, Sequence
from typing import Any

from bildwerk.cli.model_state import ModelState

ESTIMATE = (
    "           Times are estimates: the operations of one picture at three quarters of the rate of plain matrix "
    "products, measured just now."
)
AS_IT_IS = "as it is here"
"""As the engine calls the files that are here."""
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
    needs = ", ".join(f"{plan['placement']} in {plan['precision']} {plan['gib']} GiB" for plan in plans)
    if chosen is None:
        return f"none fits of {needs}"
    return f"{chosen['placement']} in {chosen['precision']} is the best that fits; {needs}"


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


def memory_advice(state: ModelState, outlooks: Sequence[dict[str, Any]]) -> str | None:
    """What to take instead where no device holds the files that are here, or would be fetched; None where one does."""
    needs: dict[str, float] = outlooks[0]["needs_gib"] if outlooks else {}
    fitting = [name for name in needs if any(name in outlook["fits"] for outlook in outlooks)]
    if not needs or next(iter(needs)) in fitting:
        return None
    model = state.model
    if not fitting:
        smallest = min(needs, key=lambda name: needs[name])
        return f"no device here has the {needs[smallest]} GiB that {model.id} needs even with {smallest}"
    widest = next(iter(needs))
    how = widest if widest == AS_IT_IS else f"in {widest}"
    return (
        f"{how} it fits no device here: take transformer and T5 as files of {fitting[0]} (fp8 or GGUF) from "
        f"repositories that have them, each with bildwerk models pull OWNER/NAME --file FILE --as {model.short_name}, "
        f"and the rest with bildwerk models pull {model.short_name} --without transformer --without text_encoder_2"
    )
