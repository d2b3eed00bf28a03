"""What the heads read, computed once for each example of a run, where nothing below them trains.

With the backbone frozen, its dropout off and no adapter on it, a head's input is a function of the example's
tokens alone: f (D,) where the head pools, (T, D) where it labels tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusion_pipeline.heads import Head
from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.training.reuse import Place, row_keys, token_inputs
from fusion_pipeline.training.state_file import StateFile

FEATURES = "features"
"""The keyword of the model's forward that brings them."""


class KeptFeatures:
    """Brings batches what their head reads; each example's is computed when it is first seen."""

    def __init__(self, model: AdaptedModel, file: StateFile, place: Place) -> None:
        self.model, self.file, self.place = model, file, place

    def bring(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch (on the CPU) with `features`: (S, D) of its S sequences, or (S, T, D), 0 where there is padding."""
        if FEATURES in batch:
            return batch
        head = self.model.heads[batch["task"]]
        assert isinstance(head, Head)
        inputs = token_inputs(batch)
        dtype = next(self.model.backbone.parameters()).dtype
        keys = row_keys(inputs, f"{dtype}, {'pooled' if head.pools else 'tokens'}")
        new = {key: row for row, key in enumerate(keys) if key not in self.file}
        if new:
            self._compute(head, inputs, new)
        mask_BT = inputs["attention_mask"].bool()
        found = self.file.read(keys, mask_BT[:, :1].new_ones(len(keys), 1) if head.pools else mask_BT)
        return {**batch, FEATURES: found.squeeze(1) if head.pools else found}

    @torch.no_grad()
    def _compute(self, head: Head, inputs: dict[str, Tensor], new: dict[bytes, int]) -> None:
        """Runs the backbone for some rows of a batch, given by key."""
        part = {name: value[list(new.values())] for name, value in inputs.items()}
        placed = self.place(part)
        read = self.model.features(head, self.model.backbone(**placed), placed["attention_mask"]).cpu()
        for key, one, real_T in zip(new, read, part["attention_mask"].bool(), strict=True):
            self.file.put(key, one.unsqueeze(0) if head.pools else one[real_T])


@contextmanager
def kept_features(model: AdaptedModel, folder: Path, place: Place) -> Iterator[KeptFeatures]:
    """Features kept inside the block, in a file that is gone afterwards; the model must run nothing but heads."""
    below = [p for name, p in model.named_parameters() if not name.startswith("heads.")]
    assert not any(p.requires_grad for p in below)
    assert not model.backbone_dropout
    assert not model.active_adapters
    file = StateFile(folder)
    try:
        yield KeptFeatures(model, file, place)
    finally:
        file.close()
