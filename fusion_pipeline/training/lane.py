"""One adapter's share of a joint training: batches, optimiser, schedule and best weights of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count
from typing import Any

import torch
from torch import Tensor

from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.tasks.spec import TaskSpec
from fusion_pipeline.training.batches import BatchLoader
from fusion_pipeline.training.encoding import Encoded
from fusion_pipeline.training.fit import Fit, FitSpec, build_trainer, evaluate_splits, history_of


class Lane:
    """What a separate run of this adapter would do, one step at a time.

    A `PipelineTrainer` of its own makes batches, optimiser and schedule, evaluates, and says which weights are
    best and when to stop early; only its loop is not used. The best weights are kept in memory.
    """

    def __init__(
        self,
        adapter: str,
        model: AdaptedModel,
        task: TaskSpec,
        splits: dict[str, list[Encoded]],
        spec: FitSpec,
    ) -> None:
        self.adapter, self.model, self.task, self.splits = adapter, model, task, splits
        self.trainer, _ = build_trainer(model, [task], splits, spec)
        loader, args = self.trainer.get_train_dataloader(), self.trainer.args
        self.epoch_steps = len(loader)
        self.max_steps = (
            args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * self.epoch_steps)
        )
        self.trainer.create_optimizer_and_scheduler(self.max_steps)
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.best: dict[str, Tensor] | None = None
        self._batches = _endless(loader)

    @property
    def steps(self) -> int:
        """Steps taken."""
        return self.trainer.state.global_step

    @property
    def done(self) -> bool:
        """Whether all steps are taken, or early stopping ended them."""
        return self.steps >= self.max_steps or self.trainer.control.should_training_stop

    @property
    def epoch_ended(self) -> bool:
        """Whether the last step ended an epoch of this task, or its training."""
        return self.steps % self.epoch_steps == 0 or self.steps >= self.max_steps

    def batch(self) -> dict[str, Any]:
        """The next batch, on the device."""
        return self.trainer._prepare_inputs(next(self._batches))

    def update(self, loss: Tensor) -> None:
        """Clips this adapter's and head's gradient by its own norm and takes a step of its own optimiser."""
        trainer, state = self.trainer, self.trainer.state
        assert trainer.optimizer is not None
        assert trainer.lr_scheduler is not None
        trainer.watch(loss.detach())
        if trainer.args.max_grad_norm:
            torch.nn.utils.clip_grad_norm_(self.parameters, trainer.args.max_grad_norm)
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
        trainer.optimizer.zero_grad()
        state.global_step += 1
        epochs, steps = divmod(state.global_step - 1, self.epoch_steps)
        state.epoch = epochs + (steps + 1) / self.epoch_steps
        if trainer.args.device.type == "cpu":
            trainer.check_finite()

    def select(self) -> dict[str, float] | None:
        """Evaluates on validation at an epoch's end, and remembers the weights if they are the best."""
        self.trainer.check_finite()
        if self.trainer.args.eval_strategy == "no":
            return None
        self.model.set_active(self.adapter, head=self.task.name)
        metrics: dict[str, float] = self.trainer.evaluate()
        if self.trainer.args.load_best_model_at_end and self.trainer._determine_best_metric(
            metrics, trial=None
        ):
            self.best = {name: value.clone() for name, value in self.model.trained_state().items()}
        self.model.set_active(None)
        return metrics

    def finish(self, seconds: float, peak_memory: int | None) -> Fit:
        """Puts the best weights in place and reads validation and test with them."""
        if self.best is not None:
            own = dict(self.model.named_parameters())
            with torch.no_grad():
                for name, value in self.best.items():
                    own[name].copy_(value)
        self.model.set_active(self.adapter, head=self.task.name)
        metrics, outputs, _ = evaluate_splits(self.trainer, [self.task], self.splits, ("validation", "test"))
        self.model.set_active(None)
        return Fit(
            metrics=metrics,
            outputs=outputs,
            fusion_weights={},
            weight_history=[],
            seconds=seconds,
            steps=self.steps,
            epochs=float(self.trainer.state.epoch or 0.0),
            examples={split: sum(len(task) for task in parts) for split, parts in self.splits.items()},
            history=history_of(self.trainer),
            peak_memory=peak_memory,
        )


def _endless(loader: BatchLoader) -> Iterator[Any]:
    for epoch in count():
        loader.set_epoch(epoch)
        yield from loader
