"""The weighted sum cut to a rank, by default the largest of the inputs'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.merging.method import Spanning


@dataclass(frozen=True, kw_only=True)
class Svd(Spanning):
    """The best approximation of Σ wᵢ ΔWᵢ (Eckart and Young 1936) of rank `rank=`, by default the largest Rᵢ."""

    kind: str = "svd"

    def coefficients(self, gram: Tensor, weights: Sequence[float]) -> Sequence[float]:
        """The weights."""
        return weights

    def rank(self, ranks: Sequence[int], asked: int | None, *, limit: int) -> int:
        """`rank=`, or the largest of the inputs'."""
        return super().rank(ranks, max(ranks) if asked is None else asked, limit=limit)

    def check(self, ranks: Sequence[Mapping[str, int]], *, parameters: bool) -> None:
        """Refuses bottlenecks: with an activation in between they are no matrix."""
        if parameters:
            raise PipelineError(
                "svd cuts a matrix, and a bottleneck adapter with an activation is none",
                where="method",
                hint="linear averages the parameters, cat adds the outputs exactly",
            )
