"""Keeps what the fusion listened to at every evaluation, on disk as it comes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

HISTORY = "fusion_weights_history.jsonl"


class FusionWeightLog(TrainerCallback):
    """Appends the weights of each evaluation to a file and hands them to `publish` (wandb).

    `weights` returns what the trainer measured last.
    """

    def __init__(
        self,
        weights: Callable[[], dict[str, Any]],
        publish: Callable[[dict[str, Any], int], None] | None = None,
    ) -> None:
        self._weights = weights
        self._publish = publish

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """One line a evaluation; a step seen before (after resuming) is replaced."""
        weights = self._weights()
        if not state.is_world_process_zero or not weights:
            return
        path = Path(str(args.output_dir)) / HISTORY
        kept = [row for row in read_history(path) if row["step"] < state.global_step]
        rows = [*kept, {"step": state.global_step, "epoch": state.epoch, "tasks": weights}]
        aside = path.with_name(f".{HISTORY}")
        aside.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        aside.replace(path)
        if self._publish is not None:
            self._publish(weights, state.global_step)


def read_history(path: Path) -> list[dict[str, Any]]:
    """Every evaluation's weights, oldest first."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
