"""What was found out: one JSON file, in which every heat says when, where and with what it was measured."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.circumstances import circumstances
from bench.cpu.contenders import Heat
from bench.cpu.heats import Setting
from bench.cpu.result import joined
from bench.gpu.flops import count

Numbers = dict[str, Any]


@dataclass(slots=True)
class Record:
    """Heats by "name side", and the accuracy of each way to compute."""

    path: Path
    heats: dict[str, Numbers] = field(default_factory=dict)
    accuracy: Numbers = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Record":
        """What earlier runs left there."""
        found = json.loads(path.read_text()) if path.exists() else {}
        return cls(path, found.get("heats", {}), found.get("accuracy", {}))

    @property
    def has_failures(self) -> bool:
        return any(entry["status"] == "failed" for heat in self.heats.values() for entry in heat["results"].values())

    def write_heat(self, heat: Heat, side: int, setting: Setting, results: Numbers) -> None:
        """In the place of what was measured before; or added to it, where the setting says so and nothing changed."""
        shapes = setting.material.scale.shapes
        operations = count(shapes, side, side)
        around = _surroundings(setting)
        before = self.heats.get(f"{heat.name} {side}")
        if setting.adds and before and before["commit"] == around["commit"]:
            results = {name: joined(before["results"][name], result) for name, result in results.items()}
        self.heats[f"{heat.name} {side}"] = {
            "what": heat.what,
            "side": side,
            "tokens": {"image": setting.material.scale.image_tokens(side), "text": shapes.text_tokens},
            "operations": operations.decode if heat.decodes else operations.step,
            "threads": setting.threads,
            **around,
            "results": results,
        }
        self._save()

    def write_accuracy(self, side: int, setting: Setting, errors: Numbers) -> None:
        self.accuracy[str(side)] = _surroundings(setting) | {"errors": errors}
        self._save()

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.path.with_suffix(".part")
        scratch.write_text(json.dumps({"heats": self.heats, "accuracy": self.accuracy}, indent=1) + "\n")
        scratch.replace(self.path)


def _surroundings(setting: Setting) -> Numbers:
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    return {"scale": setting.material.scale.name, "finished": when} | circumstances()
