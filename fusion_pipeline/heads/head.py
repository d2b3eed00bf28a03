"""Heads: one or two linear layers over a pooled vector, or over every token; the task type says which, and the loss."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from fusion_pipeline.activations import ACTIVATIONS
from fusion_pipeline.errors import PipelineError, did_you_mean, require
from fusion_pipeline.tasks.types import head_names, head_type, task_type
from fusion_pipeline.tasks.types.token_classification import IGNORED

__all__ = ["IGNORED", "Head", "HeadSettings", "HeadSpec"]


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """What a config says of heads, before any task is known."""

    layers: int = 2
    activation: str = "tanh"
    dropout: float = 0.1

    def __post_init__(self) -> None:
        _check(self.layers, self.activation, self.dropout)

    def for_task(
        self, type: str, labels: tuple[str, ...] | None, *, shift: float = 0.0, scale: float = 1.0
    ) -> HeadSpec:
        """The head of one task, given by its type."""
        return HeadSpec(type=task_type(type).head, labels=labels, shift=shift, scale=scale, **asdict(self))


@dataclass(frozen=True, kw_only=True)
class HeadSpec:
    """A head's settings: `layers` 1 (linear) or 2 (dense, activation, linear), with dropout before each.

    `type` is what a task type calls its heads; "tokens" labels every token instead of the
    pooled sequence. `bias` False leaves the last linear
    without one. `labels` are the class names in order, None for a type without. `shift` and `scale` are the mean and
    standard deviation of a regression target: the head learns the standardised value and returns the
    original unit. Raises `PipelineError` for a value out of range.
    """

    type: str
    labels: tuple[str, ...] | None = None
    layers: int = 2
    activation: str = "tanh"
    dropout: float = 0.1
    bias: bool = True
    shift: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", None if self.labels is None else tuple(self.labels))
        require(self.type in head_names(), "head.type", self.type, f"one of: {', '.join(head_names())}")
        _check(self.layers, self.activation, self.dropout)
        require(self.scale > 0, "head.scale", self.scale, "a number above 0")
        named = head_type(self.type).named
        require(
            named != (self.labels is None), "head.labels", self.labels, "class names" if named else "none"
        )

    @property
    def outputs(self) -> int:
        """Width of the logits: the number of classes, or 1."""
        return head_type(self.type).width(self.labels)

    def values(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return asdict(self) | {"labels": None if self.labels is None else list(self.labels)}


class Head(nn.Module):
    """logits = W₂ drop(φ(W₁ drop(x))) (two layers) or W drop(x) (one).

    Shapes: pooled (B, D) → logits (B, C), or (B, 1) in the target's unit for regression; for tokens
    (B, T, D) → (B, T, C).
    """

    def __init__(self, spec: HeadSpec, hidden: int) -> None:
        super().__init__()
        self.spec = spec
        # Looked up once: a compiled forward cannot search for a file.
        self._type = head_type(spec.type)
        self.dense = nn.Linear(hidden, hidden) if spec.layers == 2 else None
        self.out = nn.Linear(hidden, spec.outputs, bias=spec.bias)
        for linear in (self.dense, self.out):
            if linear is not None:
                nn.init.normal_(linear.weight, std=0.02)
                if linear.bias is not None:
                    nn.init.zeros_(linear.bias)

    @property
    def pools(self) -> bool:
        """Whether it reads one vector a sequence, and not one a token."""
        return self._type.pools

    def forward(self, pooled: Tensor) -> Tensor:
        """The logits, or the predicted value."""
        # A half-precision backbone may carry a float32 head.
        x = F.dropout(pooled.to(self.out.weight.dtype), self.spec.dropout, self.training)
        if self.dense is not None:
            x = F.dropout(ACTIVATIONS[self.spec.activation](self.dense(x)), self.spec.dropout, self.training)
        # Half precision is enough for the layers, not for a softmax or a loss.
        logits = self.out(x)
        logits = logits.float() if logits.dtype.itemsize < 4 else logits
        return logits * self.spec.scale + self.spec.shift if self.spec.type == "regression" else logits

    def arrange(self, logits: Tensor, mask_BT: Tensor | None, choices_BC: Tensor | None) -> Tensor:
        """The logits as the task type wants them: of one row together, padding left out."""
        return self._type.arrange(logits, mask_BT, choices_BC)

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss of each example (B,), as the task type has it."""
        return self._type.losses(logits, labels, self.spec.scale)


def _check(layers: int, activation: str, dropout: float) -> None:
    require(layers in (1, 2), "head.layers", layers, "1 or 2")
    require(0 <= dropout < 1, "head.dropout", dropout, "a number from 0 up to, but not, 1")
    if activation not in ACTIVATIONS:
        hint = did_you_mean(activation, ACTIVATIONS)
        raise PipelineError(f"there is no activation '{activation}'", where="head.activation", hint=hint)
