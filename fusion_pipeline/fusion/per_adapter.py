"""Parameters of which each adapter has its own, found by the adapter's name."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fusion_pipeline.errors import PipelineError, did_you_mean


class PerAdapter(nn.Module):
    """`values` (N, *shape), one entry for each adapter; `of(names)` are those of the adapters at hand, in order.

    Without `decay`, weight decay leaves them alone: zero would mean that the adapter is off.
    """

    def __init__(self, names: Sequence[str], *shape: int, decay: bool = True) -> None:
        super().__init__()
        self.names = tuple(names)
        self.values = nn.Parameter(torch.zeros(len(self.names), *shape))
        self.no_decay: tuple[str, ...] = () if decay else ("values",)

    def of(self, names: Sequence[str]) -> Tensor:
        """(len(names), *shape)."""
        if tuple(names) == self.names:
            return self.values
        unknown = [name for name in names if name not in self.names]
        if unknown:
            raise PipelineError(
                f"this fusion was not built over the adapter '{unknown[0]}'",
                where="adapters",
                hint=did_you_mean(unknown[0], self.names),
            )
        return self.values[[self.names.index(name) for name in names]]
