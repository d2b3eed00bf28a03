"""Trains several adapters over one backbone, with one forward and one backward a step.

Not the Trainer's loop: it knows one optimiser, one schedule, one clipped norm, one epoch and one best
checkpoint, and here each adapter has its own. All of these still come from a Trainer, one for each adapter.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

import torch
from tqdm.auto import tqdm

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.together import Together
from fusion_pipeline.training.arguments import TrainerSpec
from fusion_pipeline.training.fit import Fit
from fusion_pipeline.training.lane import Lane
from fusion_pipeline.training.memory import PeakMemory

# The fields of TrainingArguments that mean here what they mean in a separate run.
HONOURED = frozenset(
    "per_device_train_batch_size per_device_eval_batch_size num_train_epochs max_steps learning_rate "
    "lr_scheduler_type lr_scheduler_kwargs warmup_steps warmup_ratio weight_decay max_grad_norm adam_beta1 "
    "adam_beta2 adam_epsilon eval_strategy save_strategy load_best_model_at_end metric_for_best_model "
    "greater_is_better save_total_limit logging_steps train_sampling_strategy bf16 use_cpu disable_tqdm "
    "data_seed dataloader_num_workers dataloader_pin_memory".split()
)
_SCHEDULES = ("reduce_lr_on_plateau", "greedy")
_ALONE = "together=false trains them one after the other"


def check_trainer(spec: TrainerSpec) -> None:
    """Refuses settings that a joint training would not follow, and more than one process."""
    odd = sorted(key for key in spec.fields if key not in HONOURED)
    odd += [key for key in ("reuse_lower_layers", "drop_lowest_layers") if getattr(spec, key)]
    if spec.fields.get("eval_strategy", "epoch") not in ("epoch", "no"):
        odd.append("eval_strategy (epoch or no)")
    if spec.fields.get("lr_scheduler_type") in _SCHEDULES:
        odd.append("lr_scheduler_type")
    if odd:
        raise PipelineError(
            f"adapters that train together cannot follow: {', '.join(odd)}", where="trainer", hint=_ALONE
        )
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise PipelineError("adapters train together in one process only", where="together", hint=_ALONE)


def fit_together(lanes: Sequence[Lane], say: Callable[[str], None]) -> list[Fit]:
    """Trains all lanes to their ends and returns what each left; `seconds` and `peak_memory` are
    those of them all.

    A step joins the next batch of every lane that still has one. An epoch's end, with its evaluation, is each
    lane's own.
    """
    together = Together({lane.adapter: lane.model for lane in lanes})
    started, memory = time.monotonic(), PeakMemory(lanes[0].trainer.args.device)
    quiet = lanes[0].trainer.args.disable_tqdm
    with tqdm(
        total=max(lane.max_steps for lane in lanes), desc="together", unit="step", leave=False, disable=quiet
    ) as bar:
        while going := [lane for lane in lanes if not lane.done]:
            with together.running():
                while not any(lane.epoch_ended for lane in _step(together, going)):
                    bar.update()
            bar.update()
            for lane in going:
                if lane.epoch_ended:
                    _report(lane, say)
    seconds, peak = time.monotonic() - started, memory.bytes
    return [lane.finish(seconds, peak) for lane in lanes]


def _step(together: Together, lanes: Sequence[Lane]) -> Sequence[Lane]:
    """One forward, one backward, and a step of every lane."""
    with lanes[0].trainer.accelerator.autocast():
        losses = together.losses({lane.adapter: lane.batch() for lane in lanes})
    # No weight has a part in two losses: the sum's gradients are each loss's own.
    torch.stack(list(losses.values())).sum().backward()
    for lane in lanes:
        lane.update(losses[lane.adapter])
    return lanes


def _report(lane: Lane, say: Callable[[str], None]) -> None:
    metrics = lane.select()
    if metrics is not None:
        epoch, loss, score = lane.trainer.state.epoch or 0.0, metrics["eval_loss"], metrics["eval_score"]
        say(f"  adapter {lane.adapter}: epoch {epoch:.1f}, validation loss {loss:.4f}, score {score:.4f}")
