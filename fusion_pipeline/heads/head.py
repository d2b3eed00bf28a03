"""Classification and regression heads over a pooled vector."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion_pipeline.errors import PipelineError

TYPES = ("classification", "regression")


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """What a config says of heads, before any task is known."""

    layers: int = 2
    dropout: float = 0.1

    def __post_init__(self) -> None:
        _require(self.layers in (1, 2), "layers", self.layers, "1 or 2")
        _require(0 <= self.dropout < 1, "dropout", self.dropout, "a number from 0 up to, but not, 1")

    def for_task(
        self, type: str, labels: tuple[str, ...] | None, *, shift: float = 0.0, scale: float = 1.0
    ) -> HeadSpec:
        """The head of one task."""
        return HeadSpec(
            type=type, labels=labels, layers=self.layers, dropout=self.dropout, shift=shift, scale=scale
        )


@dataclass(frozen=True, kw_only=True)
class HeadSpec:
    """A head's settings: `layers` 1 (linear) or 2 (dense, tanh, linear), with dropout before each.

    `labels` are the class names in order, None for regression. `shift` and `scale` are the mean and
    standard deviation of a regression target: the head learns the standardised value and returns the
    original unit. Raises `PipelineError` for a value out of range.
    """

    type: str
    labels: tuple[str, ...] | None = None
    layers: int = 2
    dropout: float = 0.1
    shift: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", None if self.labels is None else tuple(self.labels))
        _require(self.type in TYPES, "type", self.type, f"one of: {', '.join(TYPES)}")
        _require(self.layers in (1, 2), "layers", self.layers, "1 or 2")
        _require(0 <= self.dropout < 1, "dropout", self.dropout, "a number from 0 up to, but not, 1")
        _require(self.scale > 0, "scale", self.scale, "a number above 0")
        _require((self.type == "regression") == (self.labels is None), "labels", self.labels, "class names")

    @property
    def outputs(self) -> int:
        """Width of the logits: the number of classes, or 1."""
        return 1 if self.labels is None else len(self.labels)

    def values(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return asdict(self) | {"labels": None if self.labels is None else list(self.labels)}


class Head(nn.Module):
    """logits = W₂ drop(tanh(W₁ drop(pooled))) (two layers) or W drop(pooled) (one).

    Shapes: pooled (B, D) → logits (B, C), or (B, 1) in the target's unit for regression.
    """

    def __init__(self, spec: HeadSpec, hidden: int) -> None:
        super().__init__()
        self.spec = spec
        self.dense = nn.Linear(hidden, hidden) if spec.layers == 2 else None
        self.out = nn.Linear(hidden, spec.outputs)
        for linear in (self.dense, self.out):
            if linear is not None:
                nn.init.normal_(linear.weight, std=0.02)
                nn.init.zeros_(linear.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        """The logits, or the predicted value."""
        # A half-precision backbone may carry a float32 head.
        x = F.dropout(pooled.to(self.out.weight.dtype), self.spec.dropout, self.training)
        if self.dense is not None:
            x = F.dropout(torch.tanh(self.dense(x)), self.spec.dropout, self.training)
        logits = self.out(x).float()
        return logits if self.spec.type == "classification" else logits * self.spec.scale + self.spec.shift

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss of each example (B,): cross-entropy, or squared error in standard deviations of the target."""
        if self.spec.type == "classification":
            return F.cross_entropy(logits, labels.long(), reduction="none")
        return ((logits[:, 0] - labels.float()) / self.spec.scale).square()


def _require(holds: bool, key: str, value: object, wanted: str) -> None:
    if not holds:
        raise PipelineError(f"head.{key}={value} is out of range", where=f"head.{key}", hint=wanted)
