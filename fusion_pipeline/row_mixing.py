"""What runs at a site where every example of a batch has an adapter of its own."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from fusion_pipeline.adapters.module_bank import alone
from fusion_pipeline.mixing import Mixer
from fusion_pipeline.sites.site import SiteInput


class RowMixer(Mixer):
    """Δ[rows_n] = adapter_n(x[rows_n]), with the batch's `rows`: the slice of every adapter, one after the other.

    Shapes: x (B, T, D_in) → Δ (B, T, D_out). An adapter without rows in this batch does not run.
    """

    def _delta(self, site: SiteInput) -> Tensor:
        modules = dict(zip(self.bank.names, self.bank.modules, strict=True))
        mask = self.batch.mask
        deltas = []
        for name, rows in self.batch.rows.items():
            own = replace(self.batch, mask=None if mask is None else mask[rows])
            deltas.append(alone(modules[name], site.x[rows], own))
        return torch.cat(deltas)
