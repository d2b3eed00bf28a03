"""What the fusion listened to: weights averaged over real tokens, per task, layer and adapter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Sums = dict[tuple[str, str], Tensor]


class WeightTracker:
    """Sums fusion weights and entropies on the device, padding and fillers left out.

    Set `task` and `mask` before each forward; give `see` to `AdaptedModel.observe`.
    """

    def __init__(self) -> None:
        self.task = ""
        self.mask: Tensor | None = None
        self.names: dict[str, tuple[str, ...]] = {}
        # Per (task, site): [Σ w_1 … Σ w_N, Σ entropy, Σ tokens].
        self._sums: Sums = {}

    def see(self, site: str, names: tuple[str, ...], weights_BTN: Tensor) -> None:
        """Adds one forward's weights."""
        self.names[site] = names
        mask = torch.ones_like(weights_BTN[..., 0]) if self.mask is None else self.mask.to(weights_BTN.dtype)
        entropy = torch.special.entr(_shares(weights_BTN.float())).sum(-1)
        columns = torch.cat(
            [weights_BTN.float(), entropy.unsqueeze(-1), torch.ones_like(entropy).unsqueeze(-1)], -1
        )
        total = (columns * mask.unsqueeze(-1)).flatten(0, -2).sum(0).double()
        key = (self.task, site)
        self._sums[key] = self._sums[key] + total if key in self._sums else total

    def result(self, reduce: Callable[[Tensor], Tensor] = lambda value: value) -> dict[str, Any]:
        """{task: {site: {"weights": {adapter: mean}, "entropy": nats, "tokens": n}}}.

        `reduce` sums a tensor over ranks; every rank has the same keys in the same order, since all
        see the same tasks.
        """
        found: dict[str, Any] = defaultdict(dict)
        for (task, site), local in self._sums.items():
            values = reduce(local).tolist()
            *weights, entropy, tokens = values
            found[task][site] = {
                "weights": {n: w / tokens for n, w in zip(self.names[site], weights, strict=True)},
                "entropy": entropy / tokens,
                "tokens": int(tokens),
            }
        return dict(found)


def _shares(weights_BTN: Tensor) -> Tensor:
    """|w| / Σ|w|: what scales and gates, which need not sum to 1, come to in shares."""
    sizes = weights_BTN.abs()
    return sizes / sizes.sum(-1, keepdim=True).clamp_min(torch.finfo(sizes.dtype).tiny)


def mean_of_runs(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The weights of several runs with the same tasks, sites and adapters, averaged; entropies too."""
    first = results[0]
    return {
        task: {
            site: {
                "weights": {
                    name: sum(r[task][site]["weights"][name] for r in results) / len(results)
                    for name in first[task][site]["weights"]
                },
                "entropy": sum(r[task][site]["entropy"] for r in results) / len(results),
            }
            for site in sites
        }
        for task, sites in first.items()
    }


def mean_over_layers(result: dict[str, Any]) -> dict[str, dict[str, float]]:
    """{task: {adapter: mean weight over its sites}}."""
    means: dict[str, dict[str, float]] = {}
    for task, sites in result.items():
        totals: dict[str, float] = defaultdict(float)
        for site in sites.values():
            for name, weight in site["weights"].items():
                totals[name] += weight / len(sites)
        means[task] = dict(totals)
    return means
