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
    bucket, painter = bench.bucket(size, part=0.5), bench.fast()
    first = seconds_of(lambda: painter.paint(bench.order(bucket)), bench.device)
    found = pictures.measured(bench, painter, bucket)
    whole = found["picture"]
    assert isinstance(whole, dict)
    seconds = whole["median"]
    assert isinstance(seconds, float)
    return found | {"first picture, with compiling": first, "pictures a second": size / seconds}
