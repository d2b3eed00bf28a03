"""Gradient checkpointing of a frozen backbone with its adapters and fusions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fusion_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


class Recomputing:
    """What Trainer asks of a model whose layers are to be computed again in backward."""

    backbone: PreTrainedModel
    config: PretrainedConfig

    def activation_checkpointing_enable(
        self, activation_checkpointing_kwargs: dict[str, Any] | None = None, **options: Any
    ) -> None:
        """Recomputes the backbone's layers in backward; adapters and fusions are recomputed with them."""
        if not self.backbone.supports_gradient_checkpointing:
            raise PipelineError(
                f"transformers cannot recompute the layers of {self.config.model_type} backbones",
                where="trainer.gradient_checkpointing",
                hint="trainer.gradient_checkpointing=false, and a smaller batch where memory is short",
            )
        values = activation_checkpointing_kwargs or {"use_reentrant": False}
        # Its name before it was renamed in the middle of transformers 5.
        former = self.backbone.gradient_checkpointing_enable
        enable = getattr(self.backbone, "activation_checkpointing_enable", former)
        enable(values, **options)

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: dict[str, Any] | None = None, **options: Any
    ) -> None:
        """The same, by its former name."""
        self.activation_checkpointing_enable(gradient_checkpointing_kwargs, **options)
