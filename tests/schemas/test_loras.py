"""What a request may say of LoRAs is what the engine takes."""

from bildwerk.domain.catalog import load_catalog
from bildwerk.engine.request import MAX_LORA_SCALE, MAX_LORAS
from bildwerk.schemas.loras import SCALE


def test_the_limits_of_loras_are_those_of_the_engine() -> None:
    assert (SCALE.minimum, SCALE.maximum) == (-MAX_LORA_SCALE, MAX_LORA_SCALE)
    assert {spec.max_loras for spec in load_catalog().values()} == {MAX_LORAS}
