"""How the tensors of one file layout become the tensors of a model, and back.

A layout is a table of rows.  Each row names one tensor of the model, the tensors of the file that it is made of, and
the operation that makes it; every operation can be undone, so one table serves loading and writing.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import count

import torch
from torch import Tensor

WILDCARDS = {"#": r"(\d+)", "*": "(weight|bias)", "@": "(.+)"}


class Operation(StrEnum):
    RENAME = "rename"
    CONCATENATE = "concatenate"
    """Several matrices with one input, such as q, k and v, stacked into one."""
    SWAP_HALVES = "swap halves"
    """Shift and scale come in the other order."""
    CONV_1X1_TO_LINEAR = "conv 1x1 to linear"


@dataclass(frozen=True, slots=True)
class Row:
    """One tensor, or by the wildcards `#` (an index), `*` (weight or bias) and `@` (anything) a family of them.

    `target` is the model's key and `sources` are the file's; `sizes` are the sources' rows, where there are several.
    """

    target: str
    sources: tuple[str, ...]
    operation: Operation = Operation.RENAME
    sizes: tuple[int, ...] = ()

    def to_target(self, tensors: Sequence[Tensor]) -> Tensor:
        """The file's tensors, in the order of `sources` -> the model's. A renamed one is the very same tensor."""
        match self.operation:
            case Operation.RENAME:
                return tensors[0]
            case Operation.CONCATENATE:
                return torch.cat(list(tensors))
            case Operation.SWAP_HALVES:
                return torch.cat(tensors[0].chunk(2)[::-1])
            case Operation.CONV_1X1_TO_LINEAR:
                return tensors[0].flatten(1)

    def to_sources(self, tensor: Tensor) -> tuple[Tensor, ...]:
        """The model's tensor -> the file's, in the order of `sources`: `to_target` undone."""
        match self.operation:
            case Operation.RENAME:
                return (tensor,)
            case Operation.CONCATENATE:
                return torch.split(tensor, list(self.sizes))
            case Operation.SWAP_HALVES:
                return (torch.cat(tensor.chunk(2)[::-1]),)
            case Operation.CONV_1X1_TO_LINEAR:
                return (tensor[:, :, None, None],)


@dataclass(frozen=True, slots=True)
class Layout:
    """A named table. `ignored` are keys that such files may hold beside it: duplicates and constants."""

    name: str
    rows: tuple[Row, ...]
    ignored: frozenset[str] = frozenset()

    @property
    def sources(self) -> frozenset[str]:
        return frozenset(source for row in self.rows for source in row.sources)

    def expand(self, keys: Iterable[str]) -> "Layout":
        """The table with one row for each of the model's keys. Raises `KeyError` for a key without a row."""
        families = [(_pattern(row.target), row) for row in self.rows]
        return replace(self, rows=tuple(_row_for(key, families) for key in keys))

    def source_of(self, key: str) -> str:
        """The first of the file's tensors that one of the model's is made of. Raises `KeyError`, as `expand` does."""
        return self.expand([key]).rows[0].sources[0]

    def export(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The model's state -> what a file of this layout holds."""
        expanded = self.expand(state)
        pairs = (zip(row.sources, row.to_sources(state[row.target]), strict=True) for row in expanded.rows)
        return {name: tensor for pair in pairs for name, tensor in pair}


def _pattern(target: str) -> re.Pattern[str]:
    return re.compile("".join(WILDCARDS.get(character, re.escape(character)) for character in target))


def _row_for(key: str, families: Sequence[tuple[re.Pattern[str], Row]]) -> Row:
    for pattern, row in families:
        if found := pattern.fullmatch(key):
            return replace(row, target=key, sources=tuple(_filled(source, found) for source in row.sources))
    raise KeyError(key)


def _filled(source: str, found: re.Match[str]) -> str:
    """Wildcards are taken in order, so a source has them in the order of its target."""
    groups = count(1)
    return re.sub(r"[#*@]", lambda _: found[next(groups)], source)
