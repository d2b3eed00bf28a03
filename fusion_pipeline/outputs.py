"""What a forward of the adapted model answers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from transformers.utils import ModelOutput


@dataclass
class AdaptedOutput(ModelOutput):
    """A forward's answer.

    Shapes: loss (), logits (B, C), hidden_states and last_hidden_state (B, T, D) each, fusion_weights
    {site: (B, T, N)}. On pre-LN backbones the last hidden state is normalised, and hidden_states are not.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    last_hidden_state: Tensor | None = None
    fusion_weights: dict[str, Tensor] | None = None
