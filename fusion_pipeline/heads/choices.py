"""Rows of several sequences: a batch of B rows holds S sequences, and `choices` (B, C) says which are whose."""

from __future__ import annotations

import torch
from torch import Tensor


def sequence_ids(example_ids_B: Tensor, choices_BC: Tensor | None, sequences: int) -> Tensor:
    """The example of each sequence (S,); example_ids itself where every row is one sequence."""
    if choices_BC is None:
        return example_ids_B
    ids = example_ids_B.new_full((sequences + 1,), -1)
    # Empty places, -1, write to the one element too many.
    ids[choices_BC] = example_ids_B.unsqueeze(1).expand_as(choices_BC)
    return ids[:sequences]


def by_row(scores_S1: Tensor, choices_BC: Tensor) -> Tensor:
    """Scores of sequences (S, 1) → (B, C), the least number there is where a row has fewer choices."""
    scores_BC = scores_S1[:, 0][choices_BC.clamp(min=0)]
    return scores_BC.masked_fill(choices_BC < 0, torch.finfo(scores_BC.dtype).min)
