"""What a lane found, printed and kept beside the circumstances that it was found in."""

import json
from typing import Any

from bench.circumstances import ROOT

RESULTS = ROOT / "bench" / "results"


def finish(lane: str, what: str, before: dict[str, Any], numbers: dict[str, Any]) -> None:
    """Keep the numbers. Ends the process with what was broken, where anything was."""
    keep(lane, what, before, numbers)
    if numbers["breaches"]:
        raise SystemExit("\n".join(numbers["breaches"]))


def keep(lane: str, what: str, before: dict[str, Any], numbers: dict[str, Any]) -> None:
    """Write `bench/results/soak_<lane>.json` and print its numbers. `before` is what `circumstances` gave before."""
    path = RESULTS / f"soak_{lane}.json"
    path.write_text(json.dumps({"what": what, **before, "results": numbers}, indent=2) + "\n")
    shown = {name: value for name, value in numbers.items() if not isinstance(value, list)}
    print("  ".join(f"{name} {value}" for name, value in shown.items()))
    print(f"written to {path.relative_to(ROOT)}", flush=True)
