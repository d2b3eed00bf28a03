"""Pooling: one vector a sequence."""

from __future__ import annotations

import torch
from torch import Tensor

from fusion_pipeline.errors import PipelineError, did_you_mean

POOLINGS = ("first", "mean", "last", "backbone")


def check_pooling(name: str) -> str:
    """The name itself, or an error with the ones there are."""
    if name not in POOLINGS:
        raise PipelineError(
            f"there is no pooling '{name}'", where="backbone.pooling", hint=did_you_mean(name, POOLINGS)
        )
    return name


def pool(hidden_BTD: Tensor, mask_BT: Tensor | None, pooling: str, own_BD: Tensor | None = None) -> Tensor:
    """`first` token, `mean` over tokens that are not padding, the `last` of those, or the `backbone`'s own pooler.

    Shapes: hidden (B, T, D), mask (B, T) with 1 for real tokens, the pooler's output (B, D) → (B, D).
    """
    if pooling == "backbone":
        if own_BD is None:
            raise PipelineError(
                "this backbone has no pooler", where="backbone.pooling", hint="backbone.pooling=mean"
            )
        return own_BD
    if pooling == "first":
        return hidden_BTD[:, 0]
    mask = hidden_BTD.new_ones(hidden_BTD.shape[:2]) if mask_BT is None else mask_BT.to(hidden_BTD.dtype)
    if pooling == "mean":
        return (hidden_BTD * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
    # The last real token wherever the padding stands: the largest index whose mask is 1.
    last = (mask * torch.arange(mask.shape[1], device=mask.device)).argmax(1)
    return hidden_BTD[torch.arange(len(last), device=last.device), last]
