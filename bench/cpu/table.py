"""What was measured, as text: a table a heat, where the time goes, the errors, and the goals with what they came to."""

from collections.abc import Iterable, Iterator
from typing import Any

from bench.cpu.contenders import BASE, CEILINGS, OURS_INT8
from bench.cpu.goals import GOALS, INT8_PRODUCTS, Goal, product_ceiling
from bench.cpu.record import Record
from bench.cpu.result import MUCH_READ, QUIET, is_measured, mib_read, others, part, seconds

Numbers = dict[str, Any]
Row = tuple[str, ...]

GIGA = 1e9


def of(record: Record) -> str:
    lines = [*_caution(record)]
    for heat in record.heats.values():
        lines += [_title(heat), "", *_aligned(_rows(heat)), *_after(heat)]
    if record.accuracy:
        lines += ["Relative error of the velocity, against float32", "", *_aligned(_errors(record)), ""]
    return "\n".join([*lines, *_aligned(_goals(record))])


def _caution(record: Record) -> Iterable[str]:
    if any(heat["scale"] != "full" for heat in record.heats.values()):
        yield "Some of this was measured on toy networks: it shows that the bench runs, and nothing else.\n"


def _title(heat: Numbers) -> str:
    image, text = heat["tokens"]["image"], heat["tokens"]["text"]
    tokens = "" if heat["what"].startswith("decoding") else f", {image} + {text} tokens"
    rounds = [len(result["runs"]) for result in heat["results"].values() if is_measured(result)]
    return (
        f"{heat['what'].capitalize()}, {heat['side']}x{heat['side']}{tokens}: {heat['operations'] / GIGA:.0f} GFLOP, "
        f"{heat['threads']} threads, medians of {max(rounds, default=0)}, commit {heat['commit']}"
    )


def _rows(heat: Numbers) -> Iterator[Row]:
    """Rates are of the arithmetic in the model; their shares are of the products of the type that it is computed in."""
    measured = {name: result for name, result in heat["results"].items() if is_measured(result)}
    base = measured.get(BASE)
    profiles = [result["kinds"] for result in measured.values() if "kinds" in result]
    kinds = sorted({kind for profile in profiles for kind, spent in profile.items() if spent})
    yield (
        "",
        "seconds",
        "fastest",
        "slowest",
        "GFLOP/s",
        "of ceiling",
        "x diffusers",
        "GiB",
        *(f"s in {kind}" for kind in kinds),
        "attended by",
    )
    for name, result in measured.items():
        if name != CEILINGS:
            rate = heat["operations"] / seconds(result)
            ceiling = product_ceiling(heat, INT8_PRODUCTS) if name == OURS_INT8 else product_ceiling(heat)
            yield (
                name,
                f"{seconds(result):.3f}",
                f"{min(result['runs']):.3f}",
                f"{max(result['runs']):.3f}",
                f"{rate / GIGA:.0f}",
                f"{rate / ceiling:.0%}" if ceiling else "",
                f"{seconds(base) / seconds(result):.2f}" if base else "",
                f"{result['peak_gib']:.1f}",
                *(f"{result['kinds'][kind]:.2f}" if "kinds" in result else "" for kind in kinds),
                result["facts"].get("attention", ""),
            )
    for kind in measured.get(CEILINGS, {}).get("parts", {}):
        rate = part(measured[CEILINGS], kind) / GIGA
        told = (f"{kind.split(',')[0]}", f"{rate:.0f} GB/s") if "bytes" in kind else (kind, f"{rate:.0f}")
        yield f"ceiling: {told[0]}", "", "", "", told[1], "", "", "", *("" for _ in kinds), ""


def _after(heat: Numbers) -> Iterator[str]:
    yield ""
    for name, result in heat["results"].items():
        if not is_measured(result):
            how = f" ({result['install']})" if result["status"] == "absent" and result.get("install") else ""
            yield f"  {name}: {result['status']}: {result['reason']}{how}"
        elif others(result) > QUIET:
            yield f"  {name}: others used up to {others(result):.2f} cores meanwhile; measure again on a quiet machine"
        elif mib_read(result) > MUCH_READ:
            yield f"  {name}: up to {mib_read(result):.0f} MiB in a round came from the disk, which is in its time"
    yield ""


def _errors(record: Record) -> Iterator[Row]:
    sides = {side: found["errors"] for side, found in record.accuracy.items()}
    yield "", *(f"{side}x{side}" for side in sides)
    for name in dict.fromkeys(name for errors in sides.values() for name in errors):
        yield name, *(f"{errors[name]:.2%}" if name in errors else "" for errors in sides.values())


def _goals(record: Record) -> Iterator[Row]:
    yield "goal", "what", "bound", "found", ""
    for goal in GOALS:
        yield _goal(goal, record)


def _goal(goal: Goal, record: Record) -> Row:
    bound = f"{'<=' if goal.at_most else '>='} {goal.bound:g}"
    value = goal.measure(record)
    if value is None:
        return goal.number, goal.what, bound, "not measured", ""
    verdict = "met" if goal.met(value) else f"MISSED: {goal.share(value):.0%} of it"
    return goal.number, goal.what, bound, f"{value:.3f}", verdict


def _aligned(rows: Iterable[Row]) -> list[str]:
    """Numbers to the right, all else to the left."""
    cells = list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    return [_line(row, widths) for row in cells]


def _line(row: Row, widths: list[int]) -> str:
    cells = zip(row, widths, strict=True)
    return "  ".join(cell.rjust(width) if _is_number(cell) else cell.ljust(width) for cell, width in cells).rstrip()


def _is_number(cell: str) -> bool:
    return cell[:1].isdigit()
