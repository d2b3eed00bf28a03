"""Parts of a data set that are worth telling apart: its classes, its tags, the right choice and the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Named parts; `of(i)` says which of example i belongs to them.

    Shapes: `of(i)` is (S or 1, T or 1, P) of 0 and 1, for the S sequences and T tokens of the example; a 1 stands for
    all of them. Something may belong to several parts, or to none.
    """

    names: tuple[str, ...]
    of: Callable[[int], np.ndarray]


def by_number(names: Sequence[str], numbers: Sequence[int] | np.ndarray) -> Parts:
    """One part for each number, where example i as a whole belongs to part `numbers[i]`."""
    import numpy as np

    every = np.arange(len(names))
    return Parts(names=tuple(names), of=lambda i: (every == numbers[i])[None, None])


def thirds(values: np.ndarray) -> Parts:
    """The lowest, middle and highest third of numbers; equal numbers stay together."""
    import numpy as np

    low, high = np.quantile(values, [1 / 3, 2 / 3])
    names = (f"low (to {low:.3g})", f"middle (to {high:.3g})", f"high (above {high:.3g})")
    return by_number(names, (values > low).astype(int) + (values > high).astype(int))
