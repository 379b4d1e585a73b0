"""What can be wrong with weight files."""

from collections.abc import Sequence

LISTED = 8
"""How many keys of a kind a message names before it only counts."""


class WeightsError(Exception):
    """A file, folder or configuration that cannot be loaded, said in one clear sentence."""


class MismatchedKeysError(WeightsError):
    """A file whose tensors are not those of the model: which are missing, unexpected or of another shape."""

    def __init__(
        self, subject: str, *, missing: Sequence[str], unexpected: Sequence[str], misshapen: Sequence[str]
    ) -> None:
        self.missing = tuple(missing)
        self.unexpected = tuple(unexpected)
        self.misshapen = tuple(misshapen)
        parts = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen}
        listed = "; ".join(f"{len(keys)} {kind}: {_listed(keys)}" for kind, keys in parts.items() if keys)
        super().__init__(f"{subject} does not hold this model's tensors: {listed}")


def _listed(keys: Sequence[str]) -> str:
    rest = f" and {len(keys) - LISTED} more" if len(keys) > LISTED else ""
    return ", ".join(keys[:LISTED]) + rest
