"""The largest singular directions of a dense matrix: exactly where that is cheap, by subspace iteration elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor

# Up to this smaller side the full SVD is taken; at 4096 it costs a minute a matrix.
EXACT = 1024
_EXTRA, _STEPS, _ENOUGH = 16, 20, 1e-5


def largest_directions(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """(U (m, r), σ (r,), V (n, r)) of the r largest singular values, r = min(rank, m, n).

    Above `EXACT`: block subspace iteration (Halko et al. 2011, algorithm 4.4) from a start that is always the same,
    until σ² captured grows by less than 1e-5 of itself a step, 20 steps at most.
    """
    rank = min(rank, *matrix.shape)
    if min(matrix.shape) <= EXACT or rank + _EXTRA >= min(matrix.shape):
        u, s, v = torch.linalg.svd(matrix, full_matrices=False)
        return u[:, :rank], s[:rank], v[:rank].T
    return _by_iteration(matrix, rank)


def _by_iteration(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    start = torch.randn(matrix.shape[1], rank + _EXTRA, generator=draw, dtype=matrix.dtype)
    basis, before = torch.linalg.qr(matrix @ start)[0], 0.0
    for _ in range(_STEPS):
        image = matrix.T @ basis
        now = float(torch.linalg.svdvals(image)[:rank].square().sum())
        if now - before <= _ENOUGH * now:
            break
        before = now
        basis = torch.linalg.qr(matrix @ torch.linalg.qr(image)[0])[0]
    u, s, v = torch.linalg.svd(matrix.T @ basis, full_matrices=False)
    return basis @ v[:rank].T, s[:rank], u[:, :rank]
