"""A student learns from what a teacher says, and not from the labels alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.outputs import AdaptedOutput

_TEXT = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True, kw_only=True)
class DistillSpec:
    """loss = α · T² · KL(teacher ‖ student at temperature T) + (1 − α) · task loss + β · MSE of hidden states.

    Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network (2015), section 2. The third term compares
    the last hidden states of real tokens. Raises `PipelineError` for a value out of range.
    """

    alpha: float = 0.5
    temperature: float = 2.0
    beta: float = 0.0

    def __post_init__(self) -> None:
        _require(0 <= self.alpha <= 1, "alpha", self.alpha, "a number from 0 to 1")
        _require(self.temperature > 0, "temperature", self.temperature, "a number above 0")
        _require(self.beta >= 0, "beta", self.beta, "0 (off) or more")


class Distillation:
    """The loss of `DistillSpec`, blended into a Trainer's steps.

    `said` holds the teacher's logits (n, C) of every training example of each task, computed once, and
    `scales` the unit of a regression's, None for classes. The teacher itself runs along only for hidden states
    (`beta` above 0). Values of a regression are compared by their squared difference, without temperature.
    """

    def __init__(
        self, spec: DistillSpec, teacher: AdaptedModel, said: Sequence[Tensor], scales: Sequence[float | None]
    ) -> None:
        self.spec = spec
        self.teacher = teacher.eval()
        self.said = list(said)
        self.scales = list(scales)

    @property
    def asks(self) -> dict[str, Any]:
        """Hidden states, where they are compared."""
        return {"output_hidden_states": True} if self.spec.beta > 0 else {}

    def loss(self, inputs: dict[str, Any], outputs: AdaptedOutput, own: Tensor, share: Tensor) -> Tensor:
        """The blended loss of a step; fillers count for nothing."""
        assert outputs.logits is not None
        real = inputs["example_ids"] >= 0
        task = int(inputs["task_ids"][0])
        said = self.said[task].to(outputs.logits.device)[inputs["example_ids"].clamp(min=0)]
        terms = self.spec.alpha * self._answers(said, outputs.logits, self.scales[task])
        if self.spec.beta > 0:
            terms = terms + self.spec.beta * self._hidden(inputs, outputs)
        return (1 - self.spec.alpha) * own + share * torch.where(real, terms, 0.0).sum()

    def _answers(self, said: Tensor, logits: Tensor, scale: float | None) -> Tensor:
        return (
            softened(said, logits, self.spec.temperature) if scale is None else _squares(said, logits, scale)
        )

    def _hidden(self, inputs: dict[str, Any], outputs: AdaptedOutput) -> Tensor:
        """Mean square over dimensions and real tokens of each example: (B,)."""
        with torch.no_grad():
            theirs = self.teacher(**{k: inputs[k] for k in _TEXT if k in inputs}, output_hidden_states=True)
        states = outputs.last_hidden_state
        assert states is not None
        squares_BT = (states - theirs.last_hidden_state).float().square().mean(-1)
        mask_BT = inputs["attention_mask"].to(squares_BT)
        return (squares_BT * mask_BT).sum(-1) / mask_BT.sum(-1).clamp(min=1)


def softened(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """T² · KL(softmax(teacher / T) ‖ softmax(student / T)) of each example: (B, C) twice → (B,)."""
    theirs = F.log_softmax(teacher.float() / temperature, dim=-1)
    ours = F.log_softmax(student.float() / temperature, dim=-1)
    return temperature**2 * F.kl_div(ours, theirs, log_target=True, reduction="none").sum(-1)


def _squares(said: Tensor, logits: Tensor, scale: float) -> Tensor:
    return ((logits[:, 0] - said[:, 0]) / scale).square()


def _require(holds: bool, key: str, value: object, wanted: str) -> None:
    if not holds:
        raise PipelineError(f"distill.{key}={value} is out of range", where=f"distill.{key}", hint=wanted)
