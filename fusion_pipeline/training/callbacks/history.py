"""The learning curve: one entry an evaluation, kept with the Trainer's own state and so across a resume."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

SECONDS, LOSS = "history_seconds", "history_loss"


class LearningCurve(TrainerCallback):
    """Adds to each evaluation's log entry how long training has taken and its mean loss since the last one."""

    def __init__(self, seconds: Callable[[], float], loss: Callable[[], float | None]) -> None:
        self._seconds = seconds
        self._loss = loss

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """A resumed run's means begin at the step it goes on from."""
        self._loss()

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Every rank asks for the loss, since it is a mean over ranks."""
        loss = self._loss()
        if state.log_history:
            state.log_history[-1] |= {SECONDS: round(self._seconds(), 2), LOSS: loss}


def learning_curve(
    logged: Sequence[Mapping[str, Any]], plain: Callable[[dict[str, float]], dict[str, float]]
) -> list[dict[str, Any]]:
    """[{step, epoch, seconds, training_loss, validation: metrics}], oldest first; a repeated step counts once.

    `training_loss` is the mean since the evaluation before; `plain` strips Trainer's prefixes and timing.
    """
    found: dict[int, dict[str, Any]] = {}
    for entry in logged:
        if SECONDS not in entry:
            continue
        metrics = {key: value for key, value in entry.items() if key.startswith("eval_")}
        found[int(entry["step"])] = {
            "step": int(entry["step"]),
            "epoch": round(float(entry["epoch"]), 4),
            "seconds": entry[SECONDS],
            "training_loss": entry[LOSS],
            "validation": plain(metrics),
        }
    return [found[step] for step in sorted(found)]
