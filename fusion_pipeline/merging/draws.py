"""The random numbers of a merge: each module of each input has its own, whatever the order of either."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Where the random methods draw from: seed, the inputs' own digests, and the module's path.

    An input is known by its weights and not by its place in the list, so that order does not matter; copies of one
    input are told apart by their number.
    """

    seed: int
    inputs: Sequence[str]
    place: str = ""

    def of(self, part: str) -> Draws:
        """The draws of one module, or of one tensor of a module."""
        return replace(self, place=f"{self.place}/{part}")

    def generator(self, index: int) -> Generator:
        """The generator of one input here."""
        import torch

        digest, copies = self.inputs[index], self.inputs[:index].count(self.inputs[index])
        text = f"{self.seed}|{digest}|{copies}|{self.place}"
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little", signed=True)
        return torch.Generator().manual_seed(number)
