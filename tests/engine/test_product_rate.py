import torch

from bildwerk.engine import product_rate
from bildwerk.engine.product_rate import describe, product_rates

CPU = torch.device("cpu")


def test_each_type_has_a_rate() -> None:
    rates = product_rates(CPU, rows=16, width=32)
    assert set(rates) == {"bfloat16", "float32"}
    assert all(rate > 0 for rate in rates.values())


def test_a_rate_is_two_operations_a_multiply_add_over_the_time_of_one_product(monkeypatch) -> None:
    monkeypatch.setattr(product_rate, "_median_seconds", lambda run, device: 0.5)
    assert product_rates(CPU, rows=16, width=32)["float32"] == 2 * 16 * 32 * 32 / 0.5


def test_a_product_that_takes_too_long_is_run_once(monkeypatch) -> None:
    runs = []
    monkeypatch.setattr(product_rate, "PATIENCE_SECONDS", 0.0)
    product_rate._median_seconds(lambda: runs.append(1), CPU)
    assert len(runs) == 1


def test_names_are_those_that_people_type() -> None:
    assert describe(CPU, torch.bfloat16)["device"] == "cpu"
    assert describe(CPU, torch.bfloat16)["dtype"] == "bfloat16"
