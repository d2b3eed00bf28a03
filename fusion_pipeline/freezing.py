"""Which parts of an adapted model train, and in which mode each part runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

from torch import Tensor, nn

from fusion_pipeline.fusion.spec import Fusion

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from fusion_pipeline.backbone import Backbone
    from fusion_pipeline.components import Shelf
    from fusion_pipeline.routing import Routing


class Freezing(nn.Module):
    """Freezes all but chosen parts, and keeps what is frozen in evaluation mode."""

    info: Backbone
    backbone: PreTrainedModel
    backbone_dropout: bool
    adapters: Shelf
    fusions: Shelf
    heads: Shelf
    _routing: Routing

    def train_only(
        self,
        *,
        adapters: Iterable[str] = (),
        fusion: str | None = None,
        heads: Iterable[str] = (),
        backbone: bool = False,
    ) -> None:
        """Lets exactly these have gradients; everything else, the backbone first, is frozen.

        `backbone` True fine-tunes all of it but a pooler that nothing reads.
        """
        self.requires_grad_(False)
        chosen = [self.adapters[name] for name in adapters] + [self.heads[name] for name in heads]
        chosen += [] if fusion is None else [self.fusions[fusion]]
        for part in chosen:
            part.requires_grad_(True)
            for module in part.modules():
                if isinstance(module, Fusion):
                    # A fusion decides for itself which of its parameters can learn.
                    module.requires_grad_(True)
        for name, parameter in self.backbone.named_parameters() if backbone else ():
            parameter.requires_grad_(self.info.pooling == "backbone" or "pooler." not in name)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Training mode for what trains; frozen parts stay in evaluation, so their own dropout is off."""
        if mode != self.training:
            # A compiled training forward, with a fused optimiser, changes weights without a trace.
            self._routing.forget()
        super().train(mode)
        self.backbone.train(mode and self.backbone_dropout)
        for module in self.backbone.modules():
            if getattr(module, "gradient_checkpointing", False):
                # The layer itself, not its dropouts: transformers recomputes only layers in training mode.
                module.training = mode
        for shelf in (self.adapters, self.fusions, self.heads):
            for part in shelf.children():
                part.train(mode and any(p.requires_grad for p in part.parameters()))
        return self

    def trained_state(self) -> dict[str, Tensor]:
        """The weights that train, by name: what a checkpoint holds."""
        return {name: p.detach() for name, p in self.named_parameters() if p.requires_grad}

    def parameter_counts(self) -> dict[str, int]:
        """`trainable` and `total` parameters."""
        counts = [(p.numel(), p.requires_grad) for p in self.parameters()]
        return {"trainable": sum(n for n, trains in counts if trains), "total": sum(n for n, _ in counts)}
