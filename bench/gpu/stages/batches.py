"""What several pictures at once bring, at half the usual side."""

from bench.gpu.record import Numbers
from bench.gpu.stages import pictures
from bench.gpu.timing import seconds_of
from bench.gpu.workbench import Workbench

SIZES = (1, 2, 4, 8)
TINY_SIZES = (1, 8)


def run(bench: Workbench) -> Numbers:
    return {str(size): _pictures_a_second(bench, size) for size in (TINY_SIZES if bench.tiny else SIZES)}


def _pictures_a_second(bench: Workbench, size: int) -> Numbers:
    bucket = bench.bucket(size, part=0.5)
    first = seconds_of(lambda: bench.fast(bucket=bucket), bench.device)
    found = pictures.measured(bench, bench.fast(bucket=bucket), bucket)
    whole = found["picture"]
    assert isinstance(whole, dict)
    seconds = whole["median"]
    assert isinstance(seconds, float)
    return found | {"warm-up": first, "pictures a second": size / seconds}
