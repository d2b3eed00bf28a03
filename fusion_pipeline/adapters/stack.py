"""Low-rank adapters stacked into one down- and one up-projection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fusion_pipeline.adapters.spec import LowRank


@dataclass(frozen=True, kw_only=True)
class Stack:
    """N low-rank adapters as one: down (ΣR, D_in), ups = [U | Cᵀ] (D_out, ΣR + N), scales folded in.

    U are the up-projections and C their biases, 0 for an adapter without one.
    """

    down: Tensor
    down_bias: Tensor | None
    ups: Tensor
    has_bias: bool
    widths: tuple[int, ...]

    @property
    def up(self) -> Tensor:
        """U (D_out, ΣR)."""
        return self.ups[:, : self.down.shape[0]]

    @property
    def up_bias(self) -> Tensor | None:
        """C (N, D_out), None where no adapter has one."""
        return self.ups[:, self.down.shape[0] :].T if self.has_bias else None

    @property
    def uniform(self) -> bool:
        """Whether all bottlenecks are equally wide, so that a plain reshape splits them."""
        return len(set(self.widths)) == 1

    def per_adapter(self, values: Tensor) -> Tensor:
        """Sums (…, ΣR) over each adapter's own part: (…, N)."""
        if self.uniform:
            return values.unflatten(-1, (len(self.widths), -1)).sum(-1)
        return torch.stack([part.sum(-1) for part in values.split(self.widths, dim=-1)], dim=-1)

    def spread(self, weights: Tensor, hidden: Tensor) -> Tensor:
        """Multiplies each adapter's part of (…, ΣR) by its weight (…, N)."""
        if self.uniform:
            return (hidden.unflatten(-1, (len(self.widths), -1)) * weights.unsqueeze(-1)).flatten(-2)
        parts = hidden.split(self.widths, dim=-1)
        return torch.cat([part * weights[..., n : n + 1] for n, part in enumerate(parts)], dim=-1)

    def per_column(self, rows: Tensor) -> Tensor:
        """Repeats each adapter's row of (N, K) for every column of its part: (ΣR, K)."""
        if self.uniform:
            return rows.repeat_interleave(self.widths[0], dim=0)
        parts = zip(rows.unbind(0), self.widths, strict=True)
        return torch.cat([row.expand(width, -1) for row, width in parts])


def stack_of(parts: Sequence[LowRank]) -> Stack:
    """Stacks adapters in order, scales folded in; gradients reach each adapter's own parameters."""
    return Stack(
        down=_cat([part.down for part in parts], 0),
        down_bias=_biases([part.down_bias for part in parts], [part.down[:, 0] for part in parts]),
        ups=torch.cat([*(_scaled(part.up, part.scale) for part in parts), _bias_columns(parts)], 1),
        has_bias=any(part.up_bias is not None for part in parts),
        widths=tuple(part.down.shape[0] for part in parts),
    )


def _bias_columns(parts: Sequence[LowRank]) -> Tensor:
    zero = parts[0].up.new_zeros(parts[0].up.shape[0])
    biases = [zero if part.up_bias is None else _scaled(part.up_bias, part.scale) for part in parts]
    return torch.stack(biases, dim=1)


def _biases(biases: Sequence[Tensor | None], like: Sequence[Tensor]) -> Tensor | None:
    if all(bias is None for bias in biases):
        return None
    return _cat(
        [torch.zeros_like(row) if bias is None else bias for bias, row in zip(biases, like, strict=True)], 0
    )


def _scaled(tensor: Tensor, scale: float) -> Tensor:
    return tensor if scale == 1 else tensor * scale


def _cat(tensors: Sequence[Tensor], dim: int) -> Tensor:
    # A bank of one (stage 1) is the parameter itself: nothing is copied.
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors), dim=dim)
