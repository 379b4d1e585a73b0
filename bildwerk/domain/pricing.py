"""What a prediction costs, in integer micro-dollars, fixed when it is submitted."""

from bildwerk.domain.account import MICRO_DOLLARS


def price(price_per_image: int, images: int) -> int:
    """Micro-dollars for `images` pictures at `price_per_image` micro-dollars each."""
    return price_per_image * images


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
