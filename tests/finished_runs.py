"""Finished runs as files, with answers of one's choosing: what the tests of reports read."""

import json

import numpy as np

from fusion_pipeline.artefact_json import MODEL
from fusion_pipeline.compare.results import Outcome
from fusion_pipeline.store import Manifest
from fusion_pipeline.tasks import scores
from fusion_pipeline.tasks.spec import TaskSpec

LABELS = ("no", "yes")


def spec(name="rte", metric="accuracy", kind="classification", labels=LABELS, text=("text",)):
    return TaskSpec(name=name, type=kind, labels=labels, metric=metric, text=text)


def write_run(root, contender, task, said, right, *, seed=0, tasks=(), metrics=(), weights=None, **options):
    """The folder of a run that answered `said`, and its outcome."""
    folder = root / f"{task.name}-{len(list(root.iterdir())) if root.is_dir() else 0}"
    folder.mkdir(parents=True)
    names = [task.name, *tasks]
    Manifest(
        kind="adapter",
        name=folder.name,
        config={"stage": "adapters", "task": task.name, "trainer": {"learning_rate": 1e-3}},
        seed=seed,
        backbone={"name": "tiny <b>", "fingerprint": "f" * 64},
        data=[
            {
                "task": name,
                "source": "made up",
                "fingerprint": "d",
                "sizes": {"train": 240, "test": len(said)},
            }
            for name in names
        ],
    ).write(folder)
    rows = [
        {"task": task.name, "id": i, "text": f"text {i}", "label": r, "prediction": s}
        for i, (s, r) in enumerate(zip(said, right, strict=True))
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "predictions.jsonl").write_text(lines, encoding="utf-8")
    (folder / "metrics.json").write_text(json.dumps(_metrics(task, said, right, names) | dict(metrics)))
    (folder / MODEL).write_text(json.dumps({"tasks": [], "heads": {}}))
    if weights:
        (folder / "fusion_weights.json").write_text(json.dumps({"validation": weights}))
    return Outcome(contender=contender, task=task, seed=seed, folder=folder, **options)


def _metrics(task, said, right, names):
    value = 0.5
    if task.type == "classification":
        numbers = [[task.labels.index(name) for name in row] for row in (said, right)]
        value = getattr(scores, task.metric)(*numbers)
    found = {f"{task.name}/{task.metric}" if len(names) > 1 else task.metric: value}
    return {
        "validation": found,
        "test": found,
        "seconds": 12.5,
        "parameters": {"trainable": 1_036_802, "total": 23_000_000, "stored": 1_036_802},
        "examples": {"train": 240},
        "peak_memory": 640_000_000,
        "history": [
            {"step": step, "epoch": step / 8, "seconds": step, "training_loss": 0.5, "validation": found}
            for step in (8, 16)
        ],
    }


def flipped(right, share, draw, labels=LABELS):
    """Answers that are wrong at random for this share of the examples."""
    wrong = draw.random(len(right)) < share
    other = dict(zip(labels, reversed(labels), strict=True))
    return [other[r] if w else r for r, w in zip(right, wrong, strict=True)]


def labels_of(count, draw):
    return [LABELS[i] for i in draw.integers(2, size=count)]


def contest(root, errors, *, name="rte", examples=400, seeds=3, metric="accuracy", **options):
    """Outcomes of contenders with these shares of errors, all seeds each."""
    draw = np.random.default_rng(len(name))
    right = labels_of(examples, draw)
    return [
        write_run(
            root, contender, spec(name, metric), flipped(right, share, draw), right, seed=seed, **options
        )
        for contender, share in errors.items()
        for seed in range(seeds)
    ]
