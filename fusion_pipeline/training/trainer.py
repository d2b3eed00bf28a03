"""The Trainer: Hugging Face's own, with our batches, small checkpoints, and an eye on the loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.heads.choices import sequence_ids
from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.training.batches import BatchLoader, Examples, MixSpec, TaskBatches
from fusion_pipeline.training.blend import Blend
from fusion_pipeline.training.rates import give_rate, own_rates
from fusion_pipeline.training.reuse import Kept
from fusion_pipeline.training.scoring import Scorer, is_ragged
from fusion_pipeline.training.weights import WeightTracker

WEIGHTS = "trained.safetensors"


class PipelineTrainer(Trainer):
    """Trainer for an `AdaptedModel`.

    Overrides only where the frozen backbone and several tasks need it: loaders, what a checkpoint
    holds, which parameters decay, and a stop at the first loss that is not finite.
    """

    def __init__(
        self,
        model: AdaptedModel,
        args: TrainingArguments,
        *,
        mix: MixSpec,
        adapters_learning_rate: float | None = None,
        blend: Blend | None = None,
        drop_lowest_layers: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(model=model, args=args, **kwargs)
        self.blend = blend
        self.mix = mix
        self.adapters_learning_rate = adapters_learning_rate
        self.drop_lowest_layers = drop_lowest_layers
        # The layers that an evaluation drops.
        self.evaluated_without = 0
        # What is computed once for each example of a run, and brought to its batches.
        self.kept: Kept | None = None
        self.tracker: WeightTracker | None = None
        self.fusion_weights: dict[str, Any] = {}
        # First step whose loss was not finite, -1 while all were; on the device, so that no step waits for it.
        self._bad_step = torch.tensor(-1, device=args.device)
        # Σ of losses since the last evaluation, and the step it began at; on the device for the same reason.
        self._losses = torch.zeros((), device=args.device)
        self._losses_from = 0

    # --- batches ------------------------------------------------------------------------------------

    def get_train_dataloader(self) -> BatchLoader:
        """This rank's training batches. Not prepared by accelerate: they are already cut among the ranks."""
        return self._loader(self.train_dataset, self._train_batch_size, train=True)

    def get_eval_dataloader(self, eval_dataset: str | Dataset[Any] | None = None) -> BatchLoader:
        """This rank's evaluation batches."""
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        return self._loader(dataset, self.args.eval_batch_size, train=False)

    def get_test_dataloader(self, test_dataset: Dataset[Any]) -> BatchLoader:
        """The same for `predict`."""
        return self.get_eval_dataloader(test_dataset)

    def _loader(self, dataset: Any, batch_size: int, *, train: bool) -> BatchLoader:
        assert isinstance(dataset, Examples)
        strategy = self.args.train_sampling_strategy
        batches = TaskBatches(
            lengths=[task.lengths for task in dataset.tasks],
            batch_size=batch_size,
            world=self.args.world_size,
            rank=self.args.process_index,
            seed=self.args.data_seed if self.args.data_seed is not None else self.args.seed,
            shuffle=train and strategy != "sequential",
            by_length=not train or strategy == "group_by_length",
            mix=self.mix,
        )
        return BatchLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory and self.args.device.type == "cuda",
            persistent_workers=self.args.dataloader_persistent_workers,
        )

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Brings what is reused of earlier epochs, and moves everything to the device."""
        # Asked twice for one batch while fusion weights are tracked: a batch that has it is left alone.
        if self.kept is not None:
            inputs = self.kept.bring(inputs)
        return super()._prepare_inputs(inputs)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Tensor:
        """Rows that count, over this step's micro-batches and all ranks."""
        local = sum((batch["example_ids"] >= 0).sum() for batch in batch_samples)
        count = torch.as_tensor(local, device=device)
        return self.accelerator.gather(count).sum() if self.args.world_size > 1 else count

    # --- optimisation -------------------------------------------------------------------------------

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Without the parameters that their modules name in `no_decay`."""
        exempt = {
            f"{prefix}.{name}"
            for prefix, module in model.named_modules()
            for name in getattr(module, "no_decay", ())
        }
        return [name for name in super().get_decay_parameter_names(model) if name not in exempt]

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Gives unfrozen adapters their own learning rate in stage 2, and slower parts of a fusion theirs."""
        fresh = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if fresh and self.adapters_learning_rate is not None:
            give_rate(optimizer, self.model.adapters.parameters(), self.adapters_learning_rate)
        for share, chosen in (own_rates(self.model) if fresh else {}).items():
            give_rate(optimizer, chosen, share * self.args.learning_rate)
        return optimizer

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The model's own loss; in training blended with another where there is one."""
        if self.blend is None or not model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        asked = {**inputs, **self.blend.asks}
        loss, outputs = super().compute_loss(model, asked, True, num_items_in_batch)
        # As Trainer does with the model's own: gradients are averaged over ranks, and items counted over all.
        ranks = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
        loss = self.blend.loss(inputs, outputs, loss, ranks / num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        """One step; remembers the first whose loss is not finite."""
        if self.drop_lowest_layers:
            self.model.drop_layers(self._drawn())
        loss = super().training_step(model, inputs, num_items_in_batch)
        self.watch(loss)
        return loss

    def _drawn(self) -> int:
        """How many layers this step drops: the same on all ranks, in all its micro-batches and after resuming."""
        draw = np.random.default_rng([self.args.seed, self.state.global_step])
        return int(draw.integers(self.drop_lowest_layers + 1))

    def watch(self, loss: Tensor) -> None:
        """Remembers this step where its loss is the first that is not finite; adds it to the learning curve."""
        step = self._bad_step.new_tensor(self.state.global_step + 1)
        bad = ~torch.isfinite(loss) & (self._bad_step < 0)
        self._bad_step = torch.where(bad, step, self._bad_step)
        self._losses = self._losses + loss.detach().float()

    def take_loss(self) -> float | None:
        """The mean training loss a step since it was last asked for, over all ranks; None without a step."""
        steps = self.state.global_step - self._losses_from
        total, self._losses = self._losses, torch.zeros_like(self._losses)
        self._losses_from = self.state.global_step
        if steps <= 0:
            return None
        if self.args.world_size > 1:
            total = self.accelerator.reduce(total, reduction="mean")
        return float(total) / steps

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        """Looks at the loss before anything is logged, evaluated or saved."""
        waits = self.control.should_log or self.control.should_save or self.control.should_evaluate
        if waits or self.args.device.type == "cpu":
            self.check_finite()
        super()._maybe_log_save_evaluate(*args, **kwargs)

    def check_finite(self) -> None:
        """Stops the run where a loss was NaN or infinite; checkpoints from before stay as they are."""
        steps = (
            self.accelerator.gather(self._bad_step.reshape(1)) if self.args.world_size > 1 else self._bad_step
        )
        first = int(steps.max())
        if first >= 0:
            raise PipelineError(
                f"the loss became NaN or infinite at step {first}; training stopped there",
                where="trainer",
                hint=f"a lower trainer.learning_rate (it is {self.args.learning_rate:g}) or trainer.max_grad_norm; "
                "the last good checkpoint is kept",
            )

    # --- evaluation ---------------------------------------------------------------------------------

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Trainer's loop, with the fusion's weights summed on the way; the scorer is shown the examples."""
        dataset = (args[0] if args else kwargs["dataloader"]).dataset
        if isinstance(self.compute_metrics, Scorer):
            self.compute_metrics.encoded = dataset.tasks
        model = self.accelerator.unwrap_model(self.model)
        model.drop_layers(self.evaluated_without)
        if model.active_fusion is None:
            return super().evaluation_loop(*args, **kwargs)
        self.tracker = WeightTracker()
        model.observe(self.tracker.see)
        try:
            output = super().evaluation_loop(*args, **kwargs)
        finally:
            model.observe(None)
        self.fusion_weights = self.tracker.result(lambda value: self._sum_over_ranks(value))
        self.tracker = None
        return output

    def _sum_over_ranks(self, value: Tensor) -> Tensor:
        return self.accelerator.reduce(value, reduction="sum") if self.args.world_size > 1 else value

    def prediction_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Tells the tracker which rows and tokens are real; logits and labels come flat, (B, …) → (B, W)."""
        if self.tracker is not None:
            inputs = self._prepare_inputs(inputs)
            self.tracker.task = inputs["task"]
            ids = sequence_ids(inputs["example_ids"], inputs.get("choices"), len(inputs["attention_mask"]))
            self.tracker.mask = inputs["attention_mask"] * (ids >= 0).unsqueeze(-1)
        loss, logits, labels = super().prediction_step(model, inputs, *args, **kwargs)
        if logits is not None and self._ragged:
            # Trainer pads the second dimension only, and all batches must have as many.
            logits = logits.flatten(1)
            labels = (labels[0].reshape(len(labels[0]), -1).double(), *labels[1:])
        return loss, logits, labels

    @property
    def _ragged(self) -> bool:
        """Whether a task's logits or labels are not one row of a fixed width."""
        scorer = self.compute_metrics
        return isinstance(scorer, Scorer) and any(is_ragged(task) for task in scorer.tasks)

    # --- checkpoints --------------------------------------------------------------------------------

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Trainer's own, and then a wait: every rank writes a file of its own before the checkpoint is marked."""
        super()._save_checkpoint(*args, **kwargs)
        self.accelerator.wait_for_everyone()

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        """Only what trains; never the backbone, and no pickled arguments."""
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: value.contiguous() for name, value in self.model.trained_state().items()}
        save_file(state, folder / WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        self.load_trained(Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        self.load_trained(Path(str(self.state.best_model_checkpoint)))

    def load_trained(self, folder: Path) -> None:
        """Puts a checkpoint's weights in place; every name and shape must match."""
        saved = load_file(folder / WEIGHTS)
        own = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        if set(saved) != set(own):
            odd = sorted(set(saved) ^ set(own))
            raise PipelineError(
                f"the checkpoint does not fit this model; {len(odd)} names differ, first {odd[:3]}",
                where=str(folder),
                hint="the run was started with other settings: overwrite=true starts anew",
            )
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(saved[name])
