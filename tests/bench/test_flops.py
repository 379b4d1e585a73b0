from bench.gpu.flops import count
from bench.gpu.networks import REAL


def test_the_real_model_costs_what_its_shapes_say() -> None:
    flops = count(REAL, 1024, 1024)
    assert round(flops.picture(4) / 1e12, 2) == 290.75
    assert round((flops.step + flops.modulation / 4) / 1e12, 3) == 69.467
    assert round(flops.t5 / 1e12, 3) == 2.397
    assert round(flops.decode / 1e12, 3) == 10.472
