"""The lane of random lives: interleavings of all that happens to predictions and money, checked after each step.

python -m bench.soak.life [--examples 500] [--steps 50] [--seed N]
"""

import argparse
import random
import time
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from bench.circumstances import circumstances
from bench.soak.record import keep
from tests.jobs.life_machine import LifeMachine

COUNTED: Counter[str] = Counter()


class CountedLife(LifeMachine):
    """Says how much was really tried: a search may end early."""

    def __init__(self) -> None:
        super().__init__()
        COUNTED["lives"] += 1

    def check_invariants(self, *arguments: Any, **named: Any) -> None:
        COUNTED["times all invariants held"] += 1
        super().check_invariants(*arguments, **named)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    before, started = circumstances(), time.monotonic()
    search = settings(
        max_examples=options.examples,
        stateful_step_count=options.steps,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(options.seed)(CountedLife), settings=search)
    if COUNTED["lives"] < options.examples:
        raise SystemExit(f"only {COUNTED['lives']} of {options.examples} lives were lived")
    numbers = {"seed": options.seed, **COUNTED, "breaches": 0, "seconds": round(time.monotonic() - started, 1)}
    keep("life", "random interleavings of the life cycle, every invariant after each step", before, numbers)


if __name__ == "__main__":
    main()
