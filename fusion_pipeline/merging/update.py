"""A module's update ΔW = s·B·A, kept in its factors, and what merging asks of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fusion_pipeline.merging.truncation import largest_directions


@dataclass(frozen=True, kw_only=True)
class Update:
    """ΔW = s·B·A of one linear.

    Shapes: `down` is A (R, D_in), `up` is B (D_out, R); `scale` is s. R may be 0: the zero update.
    """

    down: Tensor
    up: Tensor
    scale: float = 1.0

    @property
    def rank(self) -> int:
        """R: rows of A, which need not be independent."""
        return self.down.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """(D_out, D_in), the shape of ΔW."""
        return self.up.shape[0], self.down.shape[1]

    def delta(self) -> Tensor:
        """ΔW itself (D_out, D_in)."""
        return (self.up * self.scale) @ self.down

    def inner(self, other: Update) -> float:
        """⟨ΔW, ΔW'⟩ = s·s'·Σ (BᵀB') ∘ (A A'ᵀ), without either product; in float64."""
        ups = self.up.double().T @ other.up.double()
        downs = self.down.double() @ other.down.double().T
        return float((ups * downs).sum()) * self.scale * other.scale

    def energy(self) -> float:
        """‖ΔW‖²_F."""
        return max(self.inner(self), 0.0)

    def times(self, factor: float) -> Update:
        """factor·ΔW; the factor goes into B, so that s stays what the file said."""
        return self if factor == 1 else replace(self, up=self.up * factor)

    def at_rank(self, rank: int) -> tuple[Update, float]:
        """(the nearest update of this rank, the energy ‖·‖²_F that it lacks).

        A = Q_A R_A, B = Q_B R_B (QR), then the SVD of s·R_B R_Aᵀ, which is R×R: ΔW is never built.
        """
        if rank >= self.rank:
            return self, 0.0
        right, inner_right = torch.linalg.qr(self.down.double().T)
        left, inner_left = torch.linalg.qr(self.up.double())
        u, s, v = torch.linalg.svd(self.scale * inner_left @ inner_right.T)
        # Each factor gets the root of the singular values: neither is far larger than the other.
        root = s[:rank].sqrt()
        up, down = (left @ u[:, :rank]) * root, (right @ v[:rank].T * root).T
        kept = Update(down=down.to(self.down.dtype), up=up.to(self.up.dtype))
        return kept, float((s[rank:] ** 2).sum())

    def padded(self, rank: int) -> Update:
        """The same update in `rank` rows, the new ones zero."""
        missing = rank - self.rank
        down = torch.nn.functional.pad(self.down, (0, 0, 0, missing))
        return replace(self, down=down, up=torch.nn.functional.pad(self.up, (0, missing)))


@dataclass(frozen=True, kw_only=True)
class Dense:
    """A merged update that is no longer low rank: the whole matrix (D_out, D_in) of one module."""

    matrix: Tensor

    def energy(self) -> float:
        """‖·‖²_F."""
        return float(self.matrix.double().square().sum())

    def at_rank(self, rank: int) -> tuple[Update, float]:
        """(the nearest update of this rank, the energy that it lacks)."""
        left, values, right = largest_directions(self.matrix, rank)
        root = values.sqrt()
        kept = Update(down=(right * root).T.contiguous(), up=left * root)
        return kept, max(self.energy() - float(values.double().square().sum()), 0.0)


def combined(updates: Sequence[Update], factors: Sequence[float]) -> Update:
    """Σ fᵢ ΔWᵢ, exactly: factors stacked, so that ranks add up. One update alone keeps its own scale."""
    pairs = [(u, f) for u, f in zip(updates, factors, strict=True) if f != 0 and u.rank > 0]
    if len(pairs) == 1:
        return pairs[0][0].times(pairs[0][1])
    if not pairs:
        return replace(updates[0], down=updates[0].down[:0], up=updates[0].up[:, :0])
    down = torch.cat([u.down for u, _ in pairs])
    return Update(down=down, up=torch.cat([u.up * (u.scale * f) for u, f in pairs], dim=1))


def gram(updates: Sequence[Update]) -> Tensor:
    """⟨ΔWᵢ, ΔWⱼ⟩ of every pair, (N, N) in float64."""
    found = torch.zeros(len(updates), len(updates), dtype=torch.float64)
    for i, one in enumerate(updates):
        for j, other in enumerate(updates[: i + 1]):
            found[i, j] = found[j, i] = one.inner(other)
    return found
