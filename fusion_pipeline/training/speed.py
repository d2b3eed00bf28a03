"""How fast a model answers."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.training.encoding import Encoded
from fusion_pipeline.training.trainer import PipelineTrainer

LARGEST = 512


def examples_per_second(trainer: PipelineTrainer, splits: Sequence[Encoded], *, passes: int = 3) -> float:
    """The best of several passes over at most 512 examples of each task, in evaluation mode.

    Batches, precision and device are those the trainer evaluates with; loading a batch is not counted.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    batches = _batches(trainer, splits)
    rows = sum(len(batch["labels"]) for batch in batches)
    before = model.training
    model.eval()
    try:
        _pass(model, trainer, batches[:1])
        best = min(_pass(model, trainer, batches) for _ in range(passes))
    finally:
        model.train(before)
    return rows / best


def _batches(trainer: PipelineTrainer, splits: Sequence[Encoded]) -> list[dict[str, torch.Tensor]]:
    size = trainer.args.eval_batch_size
    found = []
    for part in splits:
        order = sorted(range(min(len(part), LARGEST)), key=lambda i: -int(part.lengths[i]))
        for start in range(0, len(order), size):
            rows = [
                {**part.example(i), "task": part.task, "task_ids": 0, "example_ids": i}
                for i in order[start : start + size]
            ]
            found.append(trainer._prepare_inputs(trainer.data_collator(rows)))
    return found


@torch.no_grad()
def _pass(model: AdaptedModel, trainer: PipelineTrainer, batches: Sequence[dict[str, torch.Tensor]]) -> float:
    _wait(trainer.args.device)
    start = time.perf_counter()
    for batch in batches:
        with trainer.compute_loss_context_manager():
            model(**{key: value for key, value in batch.items() if key not in ("labels", "task_ids")})
    _wait(trainer.args.device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
