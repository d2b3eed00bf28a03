"""A bank of deltas that are there already: what a fusion of fusions mixes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fusion_pipeline.adapters.bank import Hidden
from fusion_pipeline.adapters.explicit_bank import ExplicitBank


class DeltaBank(ExplicitBank):
    """Deltas (…, N, D_out) under names, as a bank; its `hidden` is the deltas themselves."""

    def __init__(self, names: Sequence[str], deltas: Sequence[Tensor]) -> None:
        self.names = tuple(names)
        self._deltas = torch.stack(list(deltas), dim=-2)

    def hidden(self, x: Tensor) -> Hidden:
        """(…, N, D_out), whatever x is."""
        return self._deltas

    def subset(self, names: Sequence[str]) -> DeltaBank:
        """Some of the deltas, in the order of the names."""
        return DeltaBank(names, [self._deltas[..., self.names.index(name), :] for name in names])
