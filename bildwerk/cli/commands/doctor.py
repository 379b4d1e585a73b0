"""`bildwerk doctor`: can this machine make pictures, and if not, what is to be done?"""

from dataclasses import asdict, dataclass
from typing import Any

from bildwerk.cli.failure import ExitCode
from bildwerk.cli.machine import ENGINE_PACKAGES, Machine, package_version, read_devices, read_machine
from bildwerk.cli.model_advice import advice, question
from bildwerk.cli.model_outlook import ESTIMATE, about_model
from bildwerk.cli.model_state import ModelState, state_of
from bildwerk.cli.standard_output import write_answer
from bildwerk.domain.catalog import load_catalog

LABEL = 11


@dataclass(frozen=True, slots=True)
class Diagnosis:
    machine: Machine
    packages: dict[str, str | None]
    devices: dict[str, Any]
    models: tuple[ModelState, ...]

    @property
    def missing_packages(self) -> list[str]:
        return [name for name, version in self.packages.items() if version is None]

    def outlooks(self, model: str) -> list[dict[str, Any]]:
        """`engine.outlook.Outlook`, one a device; none where torch could not say."""
        found = self.devices.get("models", {}).get(model, [])
        return found if isinstance(found, list) else []

    def advice(self, state: ModelState) -> str | None:
        return advice(state, self.outlooks(state.model.id))

    @property
    def to_do(self) -> list[str]:
        found = [f"{state.model.id}: {said}" for state in self.models if (said := self.advice(state)) is not None]
        if self.missing_packages:
            found.insert(0, f"install {', '.join(self.missing_packages)} with: pip install 'bildwerk[engine]'")
        elif "error" in self.devices:
            found.insert(0, f"torch cannot be used: {self.devices['error']}")
        return found

    @property
    def can_make_pictures(self) -> bool:
        is_engine_ready = not self.missing_packages and "error" not in self.devices
        return is_engine_ready and any(state.is_ready for state in self.models)


def examine() -> Diagnosis:
    packages = {name: package_version(name) for name in ENGINE_PACKAGES}
    states = tuple(state_of(model) for model in load_catalog().values())
    asked = {state.model.id: question(state) for state in states}
    devices = {"error": "torch is not installed"} if packages["torch"] is None else read_devices(asked)
    return Diagnosis(read_machine(), packages, devices, states)


def doctor(*, json: bool | None = None) -> int:
    """Say what this machine has, which models are complete, and what to do. Ends with 1 if it can make no picture.

    Parameters
    ----------
    json
        Print a JSON object. Default: only where standard output is not a terminal.
    """
    diagnosis = examine()
    write_answer(json, as_json(diagnosis), as_text(diagnosis), LABEL)
    return ExitCode.OK if diagnosis.can_make_pictures else ExitCode.EXPECTED


def as_json(diagnosis: Diagnosis) -> dict[str, object]:
    return {
        "can_make_pictures": diagnosis.can_make_pictures,
        "machine": asdict(diagnosis.machine),
        "packages": diagnosis.packages,
        "devices": diagnosis.devices,
        "models": [state.as_json() | {"outlooks": diagnosis.outlooks(state.model.id)} for state in diagnosis.models],
        "to_do": diagnosis.to_do,
    }


def as_text(diagnosis: Diagnosis) -> list[str]:
    machine = diagnosis.machine
    return [
        f"system     {machine.system}, Python {machine.python}",
        f"processor  {machine.cpu}, {machine.cores} cores, {', '.join(machine.cpu_features) or 'no known features'}",
        f"memory     {machine.memory_gib} GiB, {machine.available_gib} GiB available",
        *(f"package    {name} {version or 'missing'}" for name, version in diagnosis.packages.items()),
        *(f"device     {describe(device)}" for device in diagnosis.devices.get("devices", [])),
        *(line for state in diagnosis.models for line in about_model(state, diagnosis.outlooks(state.model.id))),
        *([ESTIMATE] if any(diagnosis.outlooks(state.model.id) for state in diagnosis.models) else []),
        *(f"to do      {sentence}" for sentence in diagnosis.to_do),
        "This machine can make pictures." if diagnosis.can_make_pictures else "This machine cannot make pictures yet.",
    ]


def describe(device: dict[str, Any]) -> str:
    """As the engine's list of devices has it: a name, and facts that differ from device to device."""
    facts = {key.replace("_", " "): value for key, value in device.items() if key != "name"}
    return ", ".join([device["name"], *(f"{key} {value}" for key, value in facts.items())])
