"""What a prediction costs, in integer micro-dollars, fixed when it is submitted; and dollars as people write them."""

import re

from bildwerk.domain.account import MICRO_DOLLARS


def price(price_per_image: int, images: int) -> int:
    """Micro-dollars for `images` pictures at `price_per_image` micro-dollars each."""
    return price_per_image * images


DECIMALS = 6
_AMOUNT = re.compile(rf"(\d{{1,12}})(?:\.(\d{{1,{DECIMALS}}}))?", re.ASCII)


def micro_dollars(text: str) -> int:
    """The micro-dollars of a plain decimal number such as `10` or `0.003`, exactly.

    Raises `ValueError` for anything else: a sign, an exponent, a seventh decimal, more than twelve digits before them.
    """
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:60]!r} is not an amount of dollars such as 10 or 0.25")
    whole, fraction = match.groups()
    return int(whole) * MICRO_DOLLARS + int((fraction or "").ljust(DECIMALS, "0"))


def dollars(micro: int) -> str:
    """An exact decimal text without trailing zeros: 3000 micro-dollars are `0.003`."""
    sign, micro = ("-", -micro) if micro < 0 else ("", micro)
    whole, fraction = divmod(micro, MICRO_DOLLARS)
    return f"{sign}{whole}.{fraction:06d}".rstrip("0").removesuffix(".")


def dollars_fixed(micro: int) -> str:
    """The same with all six decimals: `125.500000`."""
    sign, micro = ("-", -micro) if micro < 0 else ("", micro)
    whole, fraction = divmod(micro, MICRO_DOLLARS)
    return f"{sign}{whole}.{fraction:06d}"
