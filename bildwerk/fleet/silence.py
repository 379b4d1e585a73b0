"""How long a child may say nothing before it is taken for hung: ten times what batches of its size have needed.

Silence is measured in seconds a megapixel, summed over the batch's pictures, since the longest silent stage, decoding,
grows with it.
"""

from collections.abc import Sequence

from bildwerk.engine.request import GenerateRequest

FACTOR = 10.0
FIRST_GUESS = 30.0
"""Seconds a megapixel before anything was measured: a slow processor, the first batch, perhaps a compilation."""
FORGETTING = 0.8


class Silence:
    """`floor` seconds are always allowed."""

    def __init__(self, floor: float) -> None:
        self._floor = floor
        self._seconds_per_megapixel: float | None = None

    def allowed(self, requests: Sequence[GenerateRequest]) -> float:
        """The seconds after which a batch of these requests is taken for hung."""
        pace = FIRST_GUESS if self._seconds_per_megapixel is None else self._seconds_per_megapixel
        return max(self._floor, FACTOR * pace * megapixels(requests))

    def learn(self, requests: Sequence[GenerateRequest], longest: float) -> None:
        """The longest silence of a batch that has ended well. Old measurements fade, slow ones slowly."""
        faded = FORGETTING * (self._seconds_per_megapixel or 0.0)
        self._seconds_per_megapixel = max(faded, longest / megapixels(requests))


def megapixels(requests: Sequence[GenerateRequest]) -> float:
    return sum(request.width * request.height * request.num_images for request in requests) / 1e6
