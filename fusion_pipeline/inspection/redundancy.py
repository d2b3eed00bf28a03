"""How alike the adapters of a fusion are: linear CKA of their outputs on a sample of tokens.

Linear CKA (Kornblith et al., ICML 2019) of two adapters' outputs X, Y (n tokens, D), with K = X Xᵀ and L = Y Yᵀ:

    CKA = HSIC(K, L) / √(HSIC(K, K) HSIC(L, L))

in its debiased form over groups of tokens (Nguyen, Raghu and Kornblith, ICLR 2021): HSIC is the unbiased estimator of
Song et al. (JMLR 2012), summed over the groups. 1 for equal outputs, also after a rotation or a change of scale;
about 0 for unrelated ones, where chance may take it slightly below. The plain form would be far above 0 there, since
D is not much smaller than n.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusion_pipeline.adapters.bank import Bank
from fusion_pipeline.inspection.forwards import batches_of, forward, watched
from fusion_pipeline.sites import SiteInput
from fusion_pipeline.training.batches import Key
from fusion_pipeline.training.encoding import Encoded
from fusion_pipeline.training.trainer import PipelineTrainer

GROUP, ROWS = 256, 32  # tokens of a group, and the examples they are drawn from
LEAST = 4  # tokens: below, the unbiased estimator does not exist


@dataclass(frozen=True, kw_only=True)
class Redundancy:
    """CKA of the adapters' outputs. `sites`: {site: {"adapters", "cka" (N, N), "size"}}; `tokens` is the sample.

    `size`: the mean length of each adapter's output, in units of their mean. CKA is None where an output does not vary.
    """

    tokens: int
    sites: dict[str, Any]

    def mean(self, adapters: Sequence[str]) -> list[list[float | None]]:
        """(N, N): the mean over the sites that both adapters have."""
        return [[_mean([self._at(site, a, b) for site in self.sites]) for b in adapters] for a in adapters]

    def sizes(self, adapters: Sequence[str]) -> dict[str, float | None]:
        """The mean over sites of each adapter's `size`."""
        return {a: _mean([site["size"].get(a) for site in self.sites.values()]) for a in adapters}

    def _at(self, site: str, a: str, b: str) -> float | None:
        names, table = self.sites[site]["adapters"], self.sites[site]["cka"]
        return table[names.index(a)][names.index(b)] if a in names and b in names else None


class Comparing:
    """Sums HSIC over groups of tokens, (N, N) a site; one group's outputs of one adapter at a time are built."""

    def __init__(self, seed: int) -> None:
        self.tokens = 0
        self._draw = torch.Generator().manual_seed(seed)
        self._chosen = torch.empty(0, dtype=torch.long)
        self._sums: dict[str, tuple[tuple[str, ...], Tensor, Tensor]] = {}

    def begin(self, mask: Tensor, virtual: int) -> None:
        """Draws the tokens of the next forward's group; `virtual` tokens stand before the real ones."""
        real = mask.cpu().flatten().nonzero().flatten()
        chosen = real[torch.randperm(len(real), generator=self._draw)[:GROUP]]
        rows, places = chosen // mask.shape[1], chosen % mask.shape[1]
        self._chosen = (rows * (mask.shape[1] + virtual) + places + virtual).to(mask.device)
        self.tokens += len(chosen) if len(chosen) >= LEAST else 0

    def see(self, key: str, site: SiteInput, bank: Bank) -> None:
        """Compares the adapters of one site on the chosen tokens."""
        if len(self._chosen) < LEAST:
            return
        grams, sizes = [], []
        for name in bank.names:
            own = bank.subset([name])
            delta = own.deltas(own.hidden(site.x)).flatten(0, -2)[self._chosen].double()
            grams.append(centred_gram(delta).flatten())
            sizes.append(delta.norm(dim=-1).sum())
        stacked = torch.stack(grams)
        sums, total = stacked @ stacked.T, torch.stack(sizes)
        if key in self._sums:
            sums, total = sums + self._sums[key][1], total + self._sums[key][2]
        self._sums[key] = bank.names, sums, total

    def result(self) -> Redundancy:
        """CKA from the sums."""
        sites = {}
        for key, (names, sums, total) in self._sums.items():
            size = total / total.mean().clamp_min(torch.finfo(total.dtype).tiny)
            sites[key] = {
                "adapters": list(names),
                "cka": [[cka(sums, a, b) for b in range(len(names))] for a in range(len(names))],
                "size": dict(zip(names, size.tolist(), strict=True)),
            }
        return Redundancy(tokens=self.tokens, sites=sites)


def centred_gram(outputs: Tensor) -> Tensor:
    """The U-centred X Xᵀ, (n, D) → (n, n): ⟨K, L⟩ = n(n − 3) · unbiased HSIC (Székely and Rizzo 2014)."""
    # Without what all tokens have in common, which cancels and would only cost digits.
    centred = outputs - outputs.mean(0)
    gram = (centred @ centred.T).fill_diagonal_(0)
    n = len(gram)
    rows = gram.sum(1) / (n - 2)
    return (gram - rows[:, None] - rows[None, :] + gram.sum() / ((n - 1) * (n - 2))).fill_diagonal_(0)


def cka(sums: Tensor, a: int, b: int) -> float | None:
    """HSIC_ab / √(HSIC_aa HSIC_bb) of summed products (N, N)."""
    scale = float((sums[a, a] * sums[b, b]).sqrt())
    return float(sums[a, b]) / scale if scale > 0 else None


def compare(trainer: PipelineTrainer, encoded: Sequence[Encoded], *, tokens: int, seed: int) -> Redundancy:
    """Compares the active fusion's adapters on about `tokens` tokens of all tasks' examples, drawn with the seed."""
    comparing = Comparing(seed)
    groups = drawn_groups(encoded, count=max(1, tokens // GROUP), seed=seed)
    with watched(trainer, None, comparing.see):
        for batch in batches_of(trainer, encoded, groups):
            comparing.begin(batch["attention_mask"], trainer.model.virtual_tokens)
            forward(trainer, batch)
    return comparing.result()


def drawn_groups(encoded: Sequence[Encoded], *, count: int, seed: int) -> Iterator[list[Key]]:
    """Up to `count` batches of examples drawn without putting back, the tasks in turn."""
    draw = np.random.default_rng([seed, 1])
    left = [list(draw.permutation(len(task))) for task in encoded]
    for number in range(count):
        task = number % len(encoded)
        rows, left[task] = left[task][:ROWS], left[task][ROWS:]
        if rows:
            yield [(task, int(row), True) for row in rows]


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None
