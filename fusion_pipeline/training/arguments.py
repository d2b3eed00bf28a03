"""The `trainer` section of the config → transformers' TrainingArguments."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from transformers import TrainingArguments


@dataclass(frozen=True, kw_only=True)
class TrainerSpec:
    """The trainer's settings: TrainingArguments' own fields, and three of ours.

    `early_stopping_patience`: evaluations without a better score before training stops.
    `drop_lowest_layers` n: every step runs without the adapters of the lowest k layers, k drawn from 0..n.
    `reuse_lower_layers`: the layers below every adapter run once for each example, not once an epoch.
    """

    fields: dict[str, Any]
    early_stopping_patience: int | None = None
    reuse_lower_layers: bool = False
    drop_lowest_layers: int = 0

    def __post_init__(self) -> None:
        patience = self.early_stopping_patience
        if patience is not None and (not isinstance(patience, int) or patience < 1):
            raise _wrong("early_stopping_patience", patience, "a whole number of at least 1, or null")
        if not isinstance(self.reuse_lower_layers, bool):
            raise _wrong("reuse_lower_layers", self.reuse_lower_layers, "true or false")
        dropped = self.drop_lowest_layers
        if isinstance(dropped, bool) or not isinstance(dropped, int) or dropped < 0:
            raise _wrong("drop_lowest_layers", dropped, "a whole number, 0 or more")
        for key in ("learning_rate", "num_train_epochs"):
            _check_number(key, self.fields.get(key, 1), lambda value: value > 0, "a number above 0")
        for key in ("weight_decay", "max_grad_norm", "warmup_steps"):
            _check_number(key, self.fields.get(key, 0), lambda value: value >= 0, "0 or more")
        for key in (
            "per_device_train_batch_size",
            "per_device_eval_batch_size",
            "gradient_accumulation_steps",
        ):
            value = self.fields.get(key, 1)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise _wrong(key, value, "a whole number of at least 1")

    @classmethod
    def from_section(cls, section: dict[str, Any]) -> TrainerSpec:
        """Splits the section into transformers' fields and ours."""
        values = dict(section)
        patience = values.pop("early_stopping_patience", None)
        reuse = values.pop("reuse_lower_layers", False)
        dropped = values.pop("drop_lowest_layers", 0)
        return cls(
            fields=values,
            early_stopping_patience=patience,
            reuse_lower_layers=reuse,
            drop_lowest_layers=dropped,
        )

    @property
    def keep(self) -> int | None:
        """How many checkpoints to keep beside the best."""
        return self.fields.get("save_total_limit")


def build_arguments(
    spec: TrainerSpec, *, work: Path, seed: int, use_wandb: bool, unused: bool
) -> TrainingArguments:
    """TrainingArguments for one run.

    `unused`: some heads take no part in some steps, which data parallelism must be told.
    """
    import torch
    from transformers import TrainingArguments
    from transformers.utils.logging import set_verbosity_error

    set_verbosity_error()
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    fields = {key: value for key, value in spec.fields.items() if key != "save_total_limit"}
    fields["bf16"] = _bf16(fields)
    if fields["bf16"] and not torch.accelerator.is_available():
        # transformers takes bf16 on a CPU only where the CPU is asked for by name.
        fields["use_cpu"] = True
    # transformers would turn progress bars off together with its own log lines.
    fields.setdefault("disable_tqdm", False)
    fields.setdefault("ddp_find_unused_parameters", unused)
    try:
        args = TrainingArguments(
            output_dir=str(work),
            seed=seed,
            report_to=["wandb"] if use_wandb else [],
            remove_unused_columns=False,
            label_names=["labels", "task_ids", "example_ids"],
            logging_nan_inf_filter=False,
            **fields,
        )
    except (ValueError, TypeError, ImportError) as error:
        raise PipelineError(f"transformers refuses these settings: {error}", where="trainer") from error
    # One process drives one device: DataParallel would copy the model without its sites.
    args._n_gpu = min(args.n_gpu, 1)
    return args


def _bf16(fields: dict[str, Any]) -> bool:
    import torch

    if fields.get("bf16") is not None:
        return bool(fields["bf16"])
    if fields.get("fp16") or fields.get("use_cpu"):
        return False
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported()


def _check_number(key: str, value: Any, holds: Any, wanted: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not holds(value):
        raise _wrong(key, value, wanted)


def _wrong(key: str, value: Any, wanted: str) -> PipelineError:
    return PipelineError(f"trainer.{key}={value} is out of range", where=f"trainer.{key}", hint=wanted)
