"""Examples per second of one training epoch: batches by length against padding everything to the longest.

    python scripts/bench_data.py snli data=local data.root=$FUSION_DATA --rows 4000

Trains one adapter for one epoch each way through the product's own trainer and prints a JSON line for each:
examples and tokens a second, and the share of the time in which the model waited for its next batch. First the
time to tokenise all splits, and to read them back from the cache.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize

from fusion_pipeline.adapters import BottleneckSpec
from fusion_pipeline.backbone.loading import load_backbone
from fusion_pipeline.cli import compose as composed
from fusion_pipeline.cli import overrides as words
from fusion_pipeline.cli import sources
from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.run import Run
from fusion_pipeline.specs import Specs, read_specs
from fusion_pipeline.tasks.data import TaskData, load_tasks
from fusion_pipeline.training.batches import Collator
from fusion_pipeline.training.encoding import Encoded, encode_task
from fusion_pipeline.training.fit import FitSpec, build_trainer
from fusion_pipeline.workflow import build_heads


class Timed:
    """A loader that measures how long its reader waits, and what it hands on."""

    def __init__(self, loader: Any) -> None:
        self.loader, self.waited, self.real, self.padded = loader, 0.0, 0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.loader)
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - start
            if batch is None:
                return
            self.real += int(batch["attention_mask"].sum())
            self.padded += batch["attention_mask"].numel()
            yield batch


class PadToLongest(Collator):
    """Every batch as long as the backbone allows."""

    length = 128

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """The batch, with padding on the right."""
        batch = super().__call__(examples)
        more = self.length - batch["input_ids"].shape[1]
        for name in ("input_ids", "attention_mask", "token_type_ids"):
            if name in batch:
                batch[name] = torch.nn.functional.pad(batch[name], (0, more))
        return batch


def main() -> None:
    """Reads the data, tokenises them twice, and trains an epoch each way."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("task")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_intermixed_args()
    run = configured([*options.overrides, f"task={options.task}", f"data.max_train={options.rows}"])
    specs = read_specs(run)
    (data,) = load_tasks([options.task], data=specs.data, columns=specs.columns)
    with tempfile.TemporaryDirectory() as folder:
        encoded = tokenised(data, specs, Path(folder))
        for padding in ("by_length", "to_128"):
            print(json.dumps({"padding": padding, **epoch(data, encoded, specs, Path(folder), padding)}))


def configured(given: list[str]) -> Run:
    """The run that a command line of stage 1 with these words describes."""
    sources.register()
    with initialize(version_base="1.3", config_path=None):
        config = compose("config", words.rewrite(["stage=adapters", "logging=none", *given], multirun=False))
    return Run.from_config(composed.plain(config))


def tokenised(data: TaskData, specs: Specs, folder: Path) -> dict[str, Encoded]:
    """The splits as tokens; prints how long that took the first and the second time."""
    backbone = load_backbone(specs.backbone)
    for what in ("tokenise", "read the cache"):
        start = time.perf_counter()
        encoded = encode_task(data, backbone, folder / "tokens")
        rows = sum(len(part) for part in encoded.values())
        print(json.dumps({"what": what, "rows": rows, "seconds": round(time.perf_counter() - start, 3)}))
    return encoded


def epoch(
    data: TaskData, encoded: dict[str, Encoded], specs: Specs, folder: Path, padding: str
) -> dict[str, float]:
    """One epoch without evaluation or checkpoints."""
    model = AdaptedModel(load_backbone(specs.backbone))
    assert isinstance(specs.adapter, BottleneckSpec)
    model.add_adapter("one", specs.adapter)
    build_heads(model, [data], specs.head)
    model.train_only(adapters=["one"], heads=[data.spec.name])
    model.set_active("one", head=data.spec.name)
    fit = FitSpec(trainer=specs.trainer, mix=specs.mix, seed=0, work=folder / padding, label=padding)
    splits = {split: [part] for split, part in encoded.items()}
    trainer, _ = build_trainer(model, [data.spec], splits, fit)
    trainer.args.num_train_epochs, trainer.args.eval_strategy, trainer.args.save_strategy = 1, "no", "no"
    trainer.args.load_best_model_at_end = False
    if padding == "to_128":
        trainer.data_collator = PadToLongest(pad_id=trainer.data_collator.pad_id)
    loader = Timed(trainer.get_train_dataloader())
    trainer.get_train_dataloader = lambda: loader
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    return {
        "seconds": round(seconds, 1),
        "examples_per_second": round(len(encoded["train"]) / seconds, 1),
        "padding_share": round(1 - loader.real / loader.padded, 3),
        "waiting_share": round(loader.waited / seconds, 4),
    }


if __name__ == "__main__":
    main()
