"""A student learns from what a teacher says, and not from the labels alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fusion_pipeline.errors import PipelineError, require
from fusion_pipeline.heads import HeadSpec
from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.outputs import AdaptedOutput
from fusion_pipeline.tasks.spec import TaskSpec
from fusion_pipeline.tasks.types import head_type, task_type

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
        require(0 <= self.alpha <= 1, "distill.alpha", self.alpha, "a number from 0 to 1")
        require(self.temperature > 0, "distill.temperature", self.temperature, "a number above 0")
        require(self.beta >= 0, "distill.beta", self.beta, "0 (off) or more")


class Distillation:
    """The loss of `DistillSpec`, blended into a Trainer's steps.

    `said` holds the teacher's logits (n, W) of every training example of each task, computed once, and `heads` says
    how the task's type compares them. The teacher itself runs along only for hidden states (`beta` above 0).
    """

    def __init__(
        self, spec: DistillSpec, teacher: AdaptedModel, said: Sequence[Tensor], heads: Sequence[HeadSpec]
    ) -> None:
        self.spec = spec
        self.teacher = teacher.eval()
        self.said = list(said)
        self.heads = list(heads)

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
        terms = self.spec.alpha * self._answers(said, outputs.logits, inputs["labels"], self.heads[task])
        if self.spec.beta > 0:
            terms = terms + self.spec.beta * self._hidden(inputs, outputs)
        return (1 - self.spec.alpha) * own + share * torch.where(real, terms, 0.0).sum()

    def _answers(self, said: Tensor, logits: Tensor, labels: Tensor, head: HeadSpec) -> Tensor:
        return head_type(head.type).distances(said, logits, labels, self.spec.temperature, head.scale)

    def _hidden(self, inputs: dict[str, Any], outputs: AdaptedOutput) -> Tensor:
        """Mean square over dimensions and real tokens of each example: (B,)."""
        with torch.no_grad():
            theirs = self.teacher(**{k: inputs[k] for k in _TEXT if k in inputs}, output_hidden_states=True)
        states = outputs.last_hidden_state
        assert states is not None
        squares_BT = (states - theirs.last_hidden_state).float().square().mean(-1)
        mask_BT = inputs["attention_mask"].to(squares_BT)
        means = (squares_BT * mask_BT).sum(-1) / mask_BT.sum(-1).clamp(min=1)
        return means if "choices" not in inputs else _mean_by_row(means, inputs["choices"])


def _mean_by_row(values_S: Tensor, choices_BC: Tensor) -> Tensor:
    """The mean over each row's sequences: (S,) → (B,)."""
    there = choices_BC >= 0
    return (values_S[choices_BC.clamp(min=0)] * there).sum(1) / there.sum(1)


def check_teaching(tasks: Iterable[TaskSpec]) -> None:
    """Refuses tasks whose type does not say how far one model's answers are from another's."""
    others = [f"{task.name} ({task.type})" for task in tasks if not task_type(task.type).teaches]
    if others:
        raise PipelineError(
            f"there is no way known to distil {', '.join(others)}",
            where="run",
            hint="stage=prune makes such a fusion faster",
        )
