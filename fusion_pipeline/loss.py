"""The loss of a step, exact under accumulation and over ranks."""

from __future__ import annotations

import torch
from torch import Tensor

from fusion_pipeline.heads import Head


def step_loss(
    head: Head,
    logits: Tensor,
    labels: Tensor,
    *,
    example_ids: Tensor | None = None,
    penalty: Tensor | None = None,
    items: Tensor | int | None = None,
) -> Tensor:
    """(Σ example losses + n · penalty) / items, n the rows of this batch that count.

    Rows whose `example_ids` are below 0 are fillers. `items` is the number of rows in the whole step
    (all micro-batches, all ranks; default n), so that the parts of a step sum to mean loss + penalty.
    """
    losses = head.losses(logits, labels)
    real = torch.ones_like(losses) if example_ids is None else (example_ids >= 0).to(losses.dtype)
    # where, not a product: a filler's loss may be anything, also infinite.
    total, rows = torch.where(real > 0, losses, 0.0).sum(), real.sum()
    if penalty is not None:
        total = total + rows * penalty
    return total / (rows.clamp(min=1) if items is None else items)
