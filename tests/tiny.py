"""Small models, small data and whole runs in this process: what the tests of model and training share."""

import csv
import json
import random
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize
from hydra.core.global_hydra import GlobalHydra

from fusion_pipeline import AdaptedModel
from fusion_pipeline.adapters import BottleneckSpec
from fusion_pipeline.backbone import BackboneSpec
from fusion_pipeline.cli import keys, overrides, session, sources
from fusion_pipeline.heads import HeadSpec
from fusion_pipeline.tasks.data import TaskData
from fusion_pipeline.tasks.spec import TaskSpec
from fusion_pipeline.training.arguments import TrainerSpec
from fusion_pipeline.training.batches import MixSpec
from fusion_pipeline.training.encoding import encode_task
from fusion_pipeline.training.fit import FitSpec

LABELS = ("no", "yes")
WORDS = {"yes": ("fine", "grand", "lamp"), "no": ("awful", "bleak", "lamp")}
TEXTS = ["a lamp", "this one is a good deal longer than the other two", "so-so"]


# --- models ---------------------------------------------------------------------------------------


def adapted(family="bert", **values):
    """A bare adapted model of a family, with random weights that are the same each time."""
    return AdaptedModel.from_backbone(BackboneSpec(kind="tiny", random=family, **values))


def bottleneck(**values):
    """An adapter that matters from the start, unlike the product's own small initialisation."""
    return BottleneckSpec(**{"width": 6, "init_std": 0.5, "activation": "tanh", **values})


def shake(module, std=0.5, seed=0):
    """Gives every parameter, also those that start at zero, a random value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(std * draw)
    return module


def add_head(model, name="task", **values):
    model.add_head(name, HeadSpec(type="classification", labels=LABELS, **values))
    return name


def inputs(model, texts=TEXTS, *, pad_to=None):
    """Token inputs as the model's own tokenizer makes them; random pictures for a model of pictures."""
    if model.info.tokenizer is None:
        draw = torch.Generator().manual_seed(len(texts))
        pixels = torch.randn(len(texts), 3, model.config.image_size, model.config.image_size, generator=draw)
        return {"pixel_values": pixels.to(next(model.backbone.parameters()).dtype)}
    found = model.info.tokenizer(
        list(texts), padding="max_length" if pad_to else True, max_length=pad_to, return_tensors="pt"
    )
    return {"input_ids": found["input_ids"], "attention_mask": found["attention_mask"]}


def snapshot(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one, other):
    """Whether two dicts of tensors are equal bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# --- data -----------------------------------------------------------------------------------------


def rows(count, seed=0):
    """Texts of very different lengths whose label is easy to learn, as (text, label)."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        label = LABELS[number % 2]
        text = " ".join(draw.choice(WORDS[label]) for _ in range(draw.randint(1, 6)))
        made.append((f"{text} {number} {seed}", label))
    return made


def write_csv(path, table, names=("text", "label")):
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *table])
    return path


def task_data(name="task", *, sizes=(24, 8, 8), regression=False, seed=0):
    """A task in memory, as the data layer would hand it on."""
    spec = TaskSpec(
        name=name,
        type="regression" if regression else "classification",
        labels=None if regression else LABELS,
        metric="pearson" if regression else "accuracy",
        text=("text",),
    )
    splits = {}
    for part, (split, size) in enumerate(zip(("train", "validation", "test"), sizes, strict=True)):
        made = rows(size, seed=10 * seed + part)
        labels = [len(text) / 7 if regression else LABELS.index(label) for text, label in made]
        splits[split] = [{"text": t, "label": v} for (t, _), v in zip(made, labels, strict=True)]
    return TaskData(spec=spec, splits=splits, source="made up", fingerprint=f"{name}{sizes}{seed}")


def encoded(model, *tasks):
    """{split: [Encoded of each task]}."""
    found = [encode_task(task, model.info, None) for task in tasks]
    return {split: [task[split] for task in found] for split in ("train", "validation", "test")}


def fit_spec(work, *, seed=0, mix=None, **fields):
    """How to train, small and quiet."""
    keep = {key: fields.pop(key) for key in ("resume", "adapters_learning_rate") if key in fields}
    defaults = {
        "use_cpu": True,
        "disable_tqdm": True,
        "num_train_epochs": 1,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-2,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "load_best_model_at_end": True,
        "metric_for_best_model": "score",
        "greater_is_better": True,
        "save_total_limit": 1,
    }
    return FitSpec(
        trainer=TrainerSpec.from_section({**defaults, **fields}),
        mix=mix or MixSpec(),
        seed=seed,
        work=Path(work),
        label="test",
        **keep,
    )


# --- whole runs -----------------------------------------------------------------------------------

QUICK = (
    "backbone=tiny",
    "logging=none",
    "trainer.use_cpu=true",
    "trainer.disable_tqdm=true",
    "trainer.num_train_epochs=1",
    "trainer.per_device_train_batch_size=8",
)


def stage(*words):
    """Runs one stage in this process, exactly as `python -m fusion_pipeline` composes it; errors are raised."""
    sources.register()
    GlobalHydra.instance().clear()
    with initialize(version_base="1.3", config_path=None):
        config = compose("config", overrides.rewrite([*QUICK, *map(str, words)], multirun=False))
    session.run_stage(config, {}, "", keys.given(list(map(str, words))))


def columns():
    """The words that say which column is what."""
    return ("columns.text=text", "columns.label=label")


def metrics(folder):
    return json.loads((Path(folder) / "metrics.json").read_text(encoding="utf-8"))


def said(folder):
    """What a run wrote of its test set."""
    lines = (Path(folder) / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def probabilities(model, rows, **options):
    """What a model says of the same rows now."""
    return [p.probabilities for p in model.predict([row["text"] for row in rows], **options)]


def lengths(*sizes, seed=0):
    """Made-up token counts of several tasks."""
    draw = np.random.default_rng(seed)
    return [draw.integers(3, 60, size) for size in sizes]
