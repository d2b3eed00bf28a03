"""What a merge method is: a checked spec that turns N updates of one module, with weights, into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from fusion_pipeline.errors import PipelineError, require

if TYPE_CHECKING:
    from torch import Tensor

    from fusion_pipeline.merging.draws import Draws
    from fusion_pipeline.merging.update import Dense, Update

Parameters: TypeAlias = "Mapping[str, Tensor]"


@dataclass(frozen=True, kw_only=True)
class MergeMethod:
    """A method's settings. A yaml in `configs/merge` names its class.

    Args:
        kind: The yaml's name.
        normalize: Whether weights are divided by their sum, module by module.

    `widths_add` says that merged bottlenecks are as wide as all inputs together, and that these may differ in width.
    """

    widths_add: ClassVar[bool] = False
    kind: str
    normalize: bool = True

    def check(self, ranks: Sequence[Mapping[str, int]], *, parameters: bool) -> None:
        """Refuses inputs without a meaning here: `ranks` are each input's by module, `parameters` of bottlenecks."""

    def check_weights(self, weights: Sequence[float]) -> None:
        """Refuses weights that mean nothing to the method."""

    def prepared(self, weights: Sequence[float]) -> tuple[float, ...]:
        """The weights, divided by their sum where `normalize` says so."""
        if not self.normalize:
            return tuple(weights)
        total = sum(weights)
        if abs(total) <= 1e-12 * sum(map(abs, weights)):
            raise PipelineError(
                f"the weights {list(weights)} sum to zero and cannot be normalised",
                where="weights",
                hint="normalize=false takes them as they are",
            )
        return tuple(weight / total for weight in weights)

    def rank(self, ranks: Sequence[int], asked: int | None, *, limit: int) -> int:
        """R of the merged module from those of the inputs and `rank=`; by default they add up, to `limit` at most."""
        return min(sum(ranks) if asked is None else asked, limit)

    def merge(self, updates: Sequence[Update], weights: Sequence[float], draws: Draws) -> Update | Dense:
        """One module: N updates of one shape → the merged one. A module that an input lacks comes as rank 0."""
        raise NotImplementedError

    def merge_parameters(
        self, parameters: Sequence[Parameters], weights: Sequence[float], draws: Draws
    ) -> dict[str, Tensor]:
        """One module of a bottleneck adapter: N sets of parameters of equal shapes → one."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Spanning(MergeMethod):
    """Σ cᵢ ΔWᵢ with factors c that depend on the weights and the inner products alone: exact in the factors.

    Of parameters, every tensor is one such vector.
    """

    def coefficients(self, gram: Tensor, weights: Sequence[float]) -> Sequence[float]:
        """c (N,) from ⟨ΔWᵢ, ΔWⱼ⟩ (N, N) and the prepared weights."""
        raise NotImplementedError

    def rank(self, ranks: Sequence[int], asked: int | None, *, limit: int) -> int:
        """As `rank=` says, but never more than the stacked factors have."""
        return min(super().rank(ranks, asked, limit=limit), sum(ranks))

    def merge(self, updates: Sequence[Update], weights: Sequence[float], draws: Draws) -> Update:
        """Factors stacked: ranks add up."""
        from fusion_pipeline.merging.update import combined, gram

        return combined(updates, self.coefficients(gram(updates), weights))

    def merge_parameters(
        self, parameters: Sequence[Parameters], weights: Sequence[float], draws: Draws
    ) -> dict[str, Tensor]:
        """Tensor by tensor."""
        return {key: self._tensor([p[key] for p in parameters], weights) for key in parameters[0]}

    def _tensor(self, tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        import torch

        flat = torch.stack([t.double().flatten() for t in tensors])
        factors = self.coefficients(flat @ flat.T, weights)
        return sum(t * c for t, c in zip(tensors, factors, strict=True))  # type: ignore[return-value]


@dataclass(frozen=True, kw_only=True)
class Elementwise(MergeMethod):
    """An element of the merged ΔW depends on the same element of the inputs', and on which elements are large.

    The updates are built whole, one module at a time; the result has full rank in general and is cut to
    `rank=` by SVD. Of parameters, every tensor is treated so, and nothing is cut.
    """

    def combine(self, tensors: Sequence[Tensor], weights: Sequence[float], draws: Draws) -> Tensor:
        """N tensors of one shape → one."""
        raise NotImplementedError

    def merge(self, updates: Sequence[Update], weights: Sequence[float], draws: Draws) -> Update | Dense:
        """On the dense updates."""
        from fusion_pipeline.merging.update import Dense

        return Dense(matrix=self.combine([update.delta() for update in updates], weights, draws))

    def merge_parameters(
        self, parameters: Sequence[Parameters], weights: Sequence[float], draws: Draws
    ) -> dict[str, Tensor]:
        """Tensor by tensor."""
        return {
            key: self.combine([p[key] for p in parameters], weights, draws.of(key)) for key in parameters[0]
        }


def require_density(value: float) -> None:
    """Refuses a share of elements that keeps nothing or more than all."""
    require(0 < value <= 1, "density", value, "above 0, at most 1: the share of elements that stay")
