"""One pass of a model over examples, batch by batch, with whatever watches it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from fusion_pipeline.mixing import Observer, Probe
from fusion_pipeline.training.batches import Examples, Key
from fusion_pipeline.training.encoding import Encoded
from fusion_pipeline.training.trainer import PipelineTrainer


def every_batch(trainer: PipelineTrainer, encoded: Sequence[Encoded]) -> Iterator[dict[str, Any]]:
    """This rank's batches of all examples, on the device."""
    for batch in trainer.get_eval_dataloader(Examples(encoded)):
        yield trainer._prepare_inputs(batch)


def batches_of(
    trainer: PipelineTrainer, encoded: Sequence[Encoded], groups: Iterable[Sequence[Key]]
) -> Iterator[dict[str, Any]]:
    """Batches of the examples named, each of one task, on the device."""
    examples = Examples(encoded)
    for keys in groups:
        yield trainer._prepare_inputs(trainer.data_collator([examples[key] for key in keys]))


def forward(trainer: PipelineTrainer, batch: dict[str, Any]) -> Any:
    """The model's answer in evaluation, in the precision that the trainer evaluates in."""
    with torch.no_grad(), trainer.compute_loss_context_manager():
        return trainer.model(**batch)


@contextmanager
def watched(
    trainer: PipelineTrainer, observer: Observer | None, probe: Probe | None = None
) -> Iterator[None]:
    """Shows the forwards inside the block to observer and probe."""
    trainer.model.eval()
    trainer.model.observe(observer, probe)
    try:
        yield
    finally:
        trainer.model.observe(None)
