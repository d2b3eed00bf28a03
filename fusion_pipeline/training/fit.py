"""Trains what is unfrozen, selects on validation, and reads test once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback
from transformers.trainer_utils import set_seed

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.tasks.spec import TaskSpec
from fusion_pipeline.training.arguments import TrainerSpec, build_arguments
from fusion_pipeline.training.batches import Collator, Examples, MixSpec
from fusion_pipeline.training.blend import Blend
from fusion_pipeline.training.callbacks import (
    FusionWeightLog,
    KeepCheckpoints,
    LearningCurve,
    Progress,
    last_checkpoint,
    learning_curve,
)
from fusion_pipeline.training.callbacks.checkpoints import seconds_of
from fusion_pipeline.training.callbacks.fusion_weights import HISTORY, read_history
from fusion_pipeline.training.encoding import Encoded
from fusion_pipeline.training.features import kept_features
from fusion_pipeline.training.memory import PeakMemory
from fusion_pipeline.training.reuse import lower_states
from fusion_pipeline.training.scoring import Scorer, TaskOutputs
from fusion_pipeline.training.trainer import PipelineTrainer


@dataclass(frozen=True, kw_only=True)
class FitSpec:
    """How to train: settings, seed, where checkpoints go, and whether to go on from one.

    `reuse_features`: nothing below the heads trains, so what they read is computed once for each example.
    `evaluated`: the splits that are scored at the end; one of several attempts leaves test unread.
    """

    trainer: TrainerSpec
    mix: MixSpec
    seed: int
    work: Path
    label: str
    resume: bool = False
    use_wandb: bool = False
    adapters_learning_rate: float | None = None
    publish: Callable[[dict[str, Any], int], None] | None = None
    blend: Blend | None = None
    reuse_features: bool = False
    evaluated: tuple[str, ...] = ("validation", "test")


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What training left: metrics and outputs a split, the fusion's weights on validation, and what it took.

    `dropped`: the metrics without the adapters of the lowest 1, 2, … layers, where training dropped some.
    `history`: the learning curve; `peak_memory`: bytes, None where the system does not say.
    """

    metrics: dict[str, dict[str, float]]
    outputs: dict[str, list[TaskOutputs]]
    fusion_weights: dict[str, Any]
    weight_history: list[dict[str, Any]]
    seconds: float
    steps: int
    epochs: float
    examples: dict[str, int] = field(default_factory=dict)
    world_size: int = 1
    dropped: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    peak_memory: int | None = None


def fit(
    model: AdaptedModel, tasks: Sequence[TaskSpec], splits: dict[str, list[Encoded]], spec: FitSpec
) -> Fit:
    """Trains the model's unfrozen parts on `splits["train"]`; the model ends with the best weights."""
    trainer, keep = build_trainer(model, tasks, splits, spec)
    checkpoint = last_checkpoint(spec.work) if spec.resume else None
    if checkpoint is not None:
        keep.seconds_before = seconds_of(checkpoint)
    memory = PeakMemory(trainer.args.device)
    with _reused(trainer, spec):
        try:
            trained = trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        except OSError as error:
            raise _disk(error, spec.work) from error
        trainer.check_finite()
        seconds, peak = keep.seconds, memory.bytes
        dropped = _evaluate_dropped(trainer, tasks, splits, spec.evaluated)
        metrics, outputs, weights = evaluate_splits(trainer, tasks, splits, spec.evaluated)
    return Fit(
        metrics=metrics,
        outputs=outputs,
        fusion_weights=weights["validation"],
        weight_history=read_history(spec.work / HISTORY),
        seconds=seconds,
        steps=trained.global_step,
        epochs=float(trainer.state.epoch or 0.0),
        examples={split: sum(len(task) for task in parts) for split, parts in splits.items()},
        world_size=trainer.args.world_size,
        dropped=dropped,
        history=history_of(trainer),
        peak_memory=peak,
    )


def build_trainer(
    model: AdaptedModel, tasks: Sequence[TaskSpec], splits: dict[str, list[Encoded]], spec: FitSpec
) -> tuple[PipelineTrainer, KeepCheckpoints]:
    """The trainer with its callbacks; also what evaluation alone uses."""
    unused = len(tasks) > 1 or spec.trainer.drop_lowest_layers > 0
    args = build_arguments(
        spec.trainer, work=spec.work, seed=spec.seed, use_wandb=spec.use_wandb, unused=unused
    )
    set_seed(spec.seed)
    keep = KeepCheckpoints(spec.trainer.keep)
    trainer = PipelineTrainer(
        model,
        args,
        mix=spec.mix,
        adapters_learning_rate=spec.adapters_learning_rate,
        blend=spec.blend,
        drop_lowest_layers=spec.trainer.drop_lowest_layers,
        train_dataset=Examples(splits["train"]) if "train" in splits else None,
        eval_dataset=Examples(splits["validation"]) if "validation" in splits else None,
        data_collator=_collator(model, args.device.type),
        compute_metrics=Scorer(tasks=tasks, heads={task.name: model.head_spec(task.name) for task in tasks}),
    )
    for unwanted in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(unwanted)
    trainer.add_callback(keep)
    trainer.add_callback(LearningCurve(lambda: keep.seconds, trainer.take_loss))
    trainer.add_callback(Progress(spec.label))
    trainer.add_callback(FusionWeightLog(lambda: trainer.fusion_weights, spec.publish))
    if spec.trainer.early_stopping_patience is not None:
        trainer.add_callback(EarlyStoppingCallback(spec.trainer.early_stopping_patience))
    return trainer, keep


def history_of(trainer: PipelineTrainer) -> list[dict[str, Any]]:
    """The learning curve of what has been trained."""
    scorer = trainer.compute_metrics
    single = isinstance(scorer, Scorer) and len(scorer.tasks) == 1
    return learning_curve(trainer.state.log_history, lambda metrics: _plain(metrics, "eval", single))


@contextmanager
def _reused(trainer: PipelineTrainer, spec: FitSpec) -> Iterator[None]:
    """Reuses what the heads read, or the output of the layers below every adapter, where that is asked for."""
    if not (spec.reuse_features or spec.trainer.reuse_lower_layers):
        yield
        return
    reused = kept_features if spec.reuse_features else lower_states
    with reused(trainer.model, spec.work, trainer._prepare_input) as trainer.kept:
        try:
            yield
        finally:
            trainer.kept = None


def evaluate_splits(
    trainer: PipelineTrainer,
    tasks: Sequence[TaskSpec],
    splits: dict[str, list[Encoded]],
    names: Sequence[str],
) -> tuple[dict[str, dict[str, float]], dict[str, list[TaskOutputs]], dict[str, dict[str, Any]]]:
    """Metrics, outputs and fusion weights of each named split, with the weights the model has now."""
    metrics, outputs, weights = {}, {}, {}
    scorer = trainer.compute_metrics
    assert isinstance(scorer, Scorer)
    for name in names:
        found = trainer.predict(Examples(splits[name]), metric_key_prefix=name)
        metrics[name] = _plain(found.metrics or {}, name, len(tasks) == 1)
        outputs[name] = scorer.split(found.predictions, found.label_ids)
        weights[name] = trainer.fusion_weights
    return metrics, outputs, weights


def with_cost_of(done: Fit, several: Sequence[Fit]) -> Fit:
    """A fit that cost what all of these did: the sum of their seconds, and the highest of their peaks of memory."""
    peaks = [one.peak_memory for one in several if one.peak_memory is not None]
    return replace(done, seconds=sum(one.seconds for one in several), peak_memory=max(peaks, default=None))


def score_test(
    model: AdaptedModel,
    tasks: Sequence[TaskSpec],
    splits: dict[str, list[Encoded]],
    spec: FitSpec,
    done: Fit,
) -> Fit:
    """The fit that was chosen among several, with test read now."""
    trainer, _ = build_trainer(model, tasks, splits, replace(spec, use_wandb=False))
    metrics, outputs, _ = evaluate_splits(trainer, tasks, splits, ("test",))
    return replace(done, metrics={**done.metrics, **metrics}, outputs={**done.outputs, **outputs})


def _evaluate_dropped(
    trainer: PipelineTrainer,
    tasks: Sequence[TaskSpec],
    splits: dict[str, list[Encoded]],
    names: Sequence[str],
) -> dict[str, dict[str, dict[str, float]]]:
    """Metrics without the adapters of the lowest k layers, by k: from 1 to as many as training dropped."""
    found = {}
    for count in range(1, trainer.drop_lowest_layers + 1):
        trainer.evaluated_without = count
        found[str(count)] = evaluate_splits(trainer, tasks, splits, names)[0]
    trainer.evaluated_without = 0
    return found


def _plain(metrics: dict[str, float], split: str, single: bool) -> dict[str, float]:
    """Without the split's prefix and Trainer's own timing; `score` repeats the primary metric of one task."""
    timing = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")
    named = {key.removeprefix(f"{split}_"): float(value) for key, value in metrics.items()}
    dropped = {*timing, "score"} if single else set(timing)
    return {key: value for key, value in named.items() if key not in dropped}


def _collator(model: AdaptedModel, device: str) -> Collator:
    tokenizer = model.info.tokenizer
    pad = tokenizer.pad_token_id if tokenizer is not None and tokenizer.pad_token_id is not None else 0
    # Tensor cores like multiples of eight; on a CPU padding is only work.
    return Collator(pad_id=pad, multiple_of=8 if device == "cuda" else 1)


def _disk(error: OSError, work: Path) -> PipelineError:
    return PipelineError(
        f"a checkpoint could not be written: {error.strerror or error}",
        where=str(work),
        hint="free some space and go on with resume=true; the last whole checkpoint is kept",
    )
