"""The steps of all contenders as one picture: how many times as fast as diffusers each is."""

from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from bench.cpu.contenders import BASE, CEILINGS
from bench.cpu.record import Record
from bench.cpu.result import is_measured, seconds

Bar = tuple[str, float, float]
"""Name, times as fast as diffusers, seconds."""

WIDTH, ROW, TOP, LEFT, RIGHT = 1600, 58, 120, 470, 300
INK, PALE, LINE = "#1f2328", "#6e7781", "#d0d7de"
OURS, THEIRS = "#1a7f64", "#a9b4c0"


def write(record: Record, path: Path) -> bool:
    """False where no step was measured, and nothing is written."""
    side, bars = _bars(record)
    if bars:
        _draw(side, bars).save(path, optimize=True)
    return bool(bars)


def _bars(record: Record) -> tuple[int, list[Bar]]:
    """Of the largest picture, the fastest first. A contender of several heats is shown from the first."""
    heats = [heat for heat in record.heats.values() if BASE in heat["results"] and not _decodes(heat)]
    side = max((heat["side"] for heat in heats), default=0)
    bars: dict[str, Bar] = {}
    for heat in heats:
        measured = {name: seconds(result) for name, result in heat["results"].items() if is_measured(result)}
        if heat["side"] == side and BASE in measured:
            for name, spent in measured.items():
                bars.setdefault(name, (name, measured[BASE] / spent, spent))
    bars.pop(CEILINGS, None)
    return side, sorted(bars.values(), key=lambda bar: -bar[1])


def _decodes(heat: dict[str, Any]) -> bool:
    return str(heat["what"]).startswith("decoding")


def _draw(side: int, bars: list[Bar]) -> Image.Image:
    picture = Image.new("RGB", (WIDTH, TOP + ROW * len(bars) + 40), "white")
    draw = ImageDraw.Draw(picture)
    title, text = ImageFont.load_default(34), ImageFont.load_default(27)
    draw.text((40, 34), f"One step at {side}x{side} on a CPU, times as fast as diffusers", INK, title)
    scale = (WIDTH - LEFT - RIGHT) / max(ratio for _, ratio, _ in bars)
    draw.line((LEFT + scale, TOP - 8, LEFT + scale, TOP + ROW * len(bars)), LINE, 3)
    for number, (name, ratio, spent) in enumerate(bars):
        y = TOP + ROW * number
        draw.text((LEFT - 24, y + ROW / 2), name, INK, text, anchor="rm")
        draw.rectangle((LEFT, y + 9, LEFT + ratio * scale, y + ROW - 9), OURS if name.startswith("ours") else THEIRS)
        label = f"{ratio:.2f}x"
        draw.text((LEFT + ratio * scale + 16, y + ROW / 2), label, INK, text, anchor="lm")
        offset = draw.textlength(label, text) + 34
        draw.text((LEFT + ratio * scale + offset, y + ROW / 2), f"{spent:.2f} s", PALE, text, anchor="lm")
    return picture
