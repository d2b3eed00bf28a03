"""What a fusion listened to: weights summed over tokens, as a whole, by parts and by example."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusion_pipeline.heads.choices import sequence_ids
from fusion_pipeline.inspection.forwards import every_batch, forward, watched
from fusion_pipeline.tasks.parts import Parts
from fusion_pipeline.training.encoding import Encoded
from fusion_pipeline.training.trainer import PipelineTrainer
from fusion_pipeline.training.weights import WeightTracker

Facets = Mapping[str, Parts]


@dataclass(frozen=True, kw_only=True)
class Listened:
    """What the fusion listened to for one task.

    `sites`: {site: {"weights": {adapter: mean}, "entropy", "tokens"}}. `facets`: {facet: {part: {"tokens",
    "sites": {site: {adapter: mean}}}}}, means over the part's tokens. `examples` (n, N): each example's mean weights
    over tokens and sites, 0 counted where an adapter has no site.
    """

    sites: dict[str, Any]
    facets: dict[str, dict[str, Any]]
    examples: np.ndarray


class Listening(WeightTracker):
    """Sums on the device: per site (N,), per site and part (P, N), per example (n, N); nothing per token is kept."""

    def __init__(self, adapters: Sequence[str], encoded: Encoded, facets: Facets) -> None:
        super().__init__()
        self.task = encoded.task
        self.adapters, self.encoded, self.facets = tuple(adapters), encoded, facets
        self.parts: dict[tuple[str, str], Tensor] = {}
        self.part_tokens: dict[str, Tensor] = {}
        self.by_example: Tensor | None = None
        self._members: dict[str, Tensor] = {}
        self._rows = torch.empty(0, dtype=torch.long)
        self._share = torch.empty(0)

    def begin(self, batch: Mapping[str, Any]) -> None:
        """Says which examples the next forward is about."""
        ids = sequence_ids(batch["example_ids"], batch.get("choices"), len(batch["attention_mask"]))
        self.mask = batch["attention_mask"] * (ids >= 0).unsqueeze(-1)
        lengths = self.mask.sum(1).double()
        if self.by_example is None:
            self.by_example = lengths.new_zeros(len(self.encoded), len(self.adapters))
        self._rows = ids.clamp(min=0)
        # A sequence's share of its example's tokens; 0 for fillers.
        whole = lengths.new_zeros(len(self.encoded)).index_add_(0, self._rows, lengths)
        self._share = 1 / whole[self._rows].clamp(min=1)
        for facet, parts in self.facets.items():
            members = _members(parts, ids.tolist(), self.mask.shape[1])
            inside = torch.from_numpy(members).to(self.mask.device) * self.mask.unsqueeze(-1)
            self._members[facet] = inside.float()
            _add(self.part_tokens, facet, inside.sum((0, 1)).double())

    def see(self, site: str, names: tuple[str, ...], weights_BTN: Tensor) -> None:
        """Adds one forward's weights."""
        super().see(site, names, weights_BTN)
        assert self.mask is not None
        assert self.by_example is not None
        weights = weights_BTN.float()
        for facet, inside in self._members.items():
            _add(self.parts, (facet, site), torch.einsum("stp,stn->pn", inside, weights).double())
        sums = (weights * self.mask.unsqueeze(-1)).sum(1).double() * self._share.unsqueeze(-1)
        columns = torch.tensor([self.adapters.index(name) for name in names], device=sums.device)
        wide = sums.new_zeros(len(sums), len(self.adapters)).index_copy_(1, columns, sums)
        self.by_example.index_add_(0, self._rows, wide)

    def listened(self, reduce: Callable[[Tensor], Tensor] = lambda value: value) -> Listened:
        """The means; `reduce` sums over ranks."""
        sites = self.result(reduce)[self.task]
        assert self.by_example is not None
        tokens = {facet: reduce(count).tolist() for facet, count in self.part_tokens.items()}
        sums = {key: reduce(value).tolist() for key, value in self.parts.items()}
        facets = {facet: self._facet(facet, tokens[facet], sums, sites) for facet in self.facets}
        return Listened(
            sites={key: {**site, "normalised_entropy": _normalised(site)} for key, site in sites.items()},
            facets=facets,
            examples=(reduce(self.by_example) / len(sites)).cpu().numpy(),
        )

    def _facet(self, facet: str, tokens: list[float], sums: dict[Any, Any], sites: Any) -> dict[str, Any]:
        return {
            part: {
                "tokens": int(tokens[p]),
                "sites": {
                    site: {
                        n: w / tokens[p] for n, w in zip(self.names[site], sums[facet, site][p], strict=True)
                    }
                    for site in sites
                },
            }
            for p, part in enumerate(self.facets[facet].names)
            if tokens[p] > 0
        }


def listen(trainer: PipelineTrainer, encoded: Encoded, facets: Facets) -> Listened:
    """One pass of the model's active fusion over a task's examples."""
    listening = Listening(trainer.model.fusing, encoded, facets)
    with watched(trainer, listening.see):
        for batch in every_batch(trainer, [encoded]):
            listening.begin(batch)
            forward(trainer, batch)
    return listening.listened(trainer._sum_over_ranks)


def _members(parts: Parts, ids: Sequence[int], width: int) -> np.ndarray:
    """Which tokens belong to which part: (S, T, P), the sequences of an example one after the other."""
    table = np.zeros((len(ids), width, len(parts.names)), dtype=np.float32)
    seen: dict[int, int] = {}
    for row, example in enumerate(ids):
        if example < 0:
            continue
        of = parts.of(example)
        number = seen[example] = seen.get(example, -1) + 1
        mine = of[min(number, len(of) - 1)]
        table[row, : len(mine) if len(mine) > 1 else width] = mine
    return table


def _normalised(site: Mapping[str, Any]) -> float | None:
    """Entropy / log N: 1 where all adapters count alike, 0 where one does; None for one adapter."""
    count = len(site["weights"])
    return None if count < 2 else site["entropy"] / log(count)


def _add(sums: dict[Any, Tensor], key: Any, value: Tensor) -> None:
    sums[key] = sums[key] + value if key in sums else value
