"""What was measured, as text: a table a heat, and the goals with what they came to."""

from collections.abc import Iterable, Iterator
from typing import Any

from bench.cpu.contenders import BASE, CEILINGS
from bench.cpu.goals import GOALS, Goal, product_ceiling
from bench.cpu.record import Record

Numbers = dict[str, Any]
Row = tuple[str, ...]

GIGA = 1e9


def of(record: Record) -> str:
    parts = [*_caution(record)]
    for heat in record.heats.values():
        parts += [_title(heat), "", *_aligned(_rows(heat)), "", *_not_measured(heat)]
    if record.accuracy:
        parts += ["relative error of the velocity, against float32", "", *_aligned(_errors(record)), ""]
    return "\n".join([*parts, *_aligned(_goals(record))])


def _caution(record: Record) -> Iterable[str]:
    if any(heat["scale"] != "full" for heat in record.heats.values()):
        yield "Some of this was measured on toy networks: it shows that the bench runs, and nothing else.\n"


def _title(heat: Numbers) -> str:
    image, text = heat["tokens"]["image"], heat["tokens"]["text"]
    tokens = "" if heat["what"].startswith("decoding") else f", {image} + {text} tokens"
    rounds = {result["rounds"] for result in heat["results"].values() if result["status"] == "measured"}
    return (
        f"{heat['what']}, {heat['side']}x{heat['side']}{tokens}: {heat['operations'] / GIGA:.0f} GFLOP; "
        f"{heat['threads']} threads, medians of {max(rounds, default=0)}; commit {heat['commit']}"
    )


def _rows(heat: Numbers) -> Iterator[Row]:
    measured = {name: result for name, result in heat["results"].items() if result["status"] == "measured"}
    base = measured.get(BASE)
    ceiling = product_ceiling(heat)
    yield "", "seconds", "fastest", "slowest", "GFLOP/s", "of ceiling", "x diffusers", "GiB", "others", "attention"
    for name, result in measured.items():
        if name != CEILINGS:
            rate = heat["operations"] / result["seconds"]
            yield (
                name,
                f"{result['seconds']:.3f}",
                f"{result['fastest']:.3f}",
                f"{result['slowest']:.3f}",
                f"{rate / GIGA:.0f}",
                f"{rate / ceiling:.0%}" if ceiling else "",
                f"{base['seconds'] / result['seconds']:.2f}" if base else "",
                f"{result['peak_gib']:.1f}",
                f"{result['others_cores']:.2f}",
                result["facts"].get("attention", ""),
            )
    for kind, rate in measured.get(CEILINGS, {}).get("parts", {}).items():
        if "bytes" in kind:
            yield kind.split(",")[0], "", "", "", f"{rate / GIGA:.0f} GB/s", "", "", "", "", ""
        else:
            yield f"ceiling: {kind}", "", "", "", f"{rate / GIGA:.0f}", "", "", "", "", ""


def _not_measured(heat: Numbers) -> Iterator[str]:
    for name, result in heat["results"].items():
        if result["status"] != "measured":
            how = f"  [{result['install']}]" if result["status"] == "absent" and result.get("install") else ""
            yield f"{result['status']}: {name}: {result['reason']}{how}"
    if any(result["status"] != "measured" for result in heat["results"].values()):
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
    """The first column to the left, numbers to the right."""
    cells = list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    return [_line(row, widths) for row in cells]


def _line(row: Row, widths: list[int]) -> str:
    cells = zip(row, widths, strict=True)
    return "  ".join(cell.rjust(width) if _is_number(cell) else cell.ljust(width) for cell, width in cells).rstrip()


def _is_number(cell: str) -> bool:
    return cell[:1].isdigit()
