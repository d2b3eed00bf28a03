"""The README.md in an artefact's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusion_pipeline.reporting.table import result_rows
from fusion_pipeline.store import Manifest
from fusion_pipeline.tasks.data import TaskData
from fusion_pipeline.tasks.spec import TaskSpec
from fusion_pipeline.tasks.types import task_type
from fusion_pipeline.training.weights import mean_over_layers


def card(
    manifest: Manifest,
    tasks: Sequence[TaskData],
    metrics: Mapping[str, Any],
    weights: Mapping[str, Any],
    command: str,
    *,
    what: str | None = None,
) -> str:
    """What this is (`what`, or what its manifest says), on what it was trained, how well it does, and how to use it."""
    parts = [
        f"# {manifest.name}",
        _what(manifest, what or _made(manifest, tasks)),
        "## Results\n\n" + _metrics(tasks, metrics),
        "## Data\n\n" + "\n".join(_data(data) for data in tasks),
        _weights(weights) if weights else "",
        "## Use\n\n" + _use(manifest, tasks, command),
    ]
    if manifest.notes:
        parts.insert(3, "## Notes\n\n" + "\n".join(f"- {note}" for note in manifest.notes))
    return "\n\n".join(part for part in parts if part) + "\n"


def imported_card(manifest: Manifest, command: str) -> str:
    """What this is and where it comes from, for an artefact that was not trained here."""
    backbone = manifest.backbone
    base = f"{backbone['name']} (fingerprint `{backbone['fingerprint'][:12]}`)"
    said = f"An imported {manifest.kind} for the backbone {base}."
    notes = "\n".join(f"- {note}" for note in manifest.notes)
    return f"# {manifest.name}\n\n{said}\n\n## Notes\n\n{notes}\n\nMade with:\n\n```\n{command}\n```\n"


def _made(manifest: Manifest, tasks: Sequence[TaskData]) -> str:
    names = ", ".join(data.spec.name for data in tasks)
    if manifest.kind == "adapter":
        return f"A `{manifest.config['adapter']['kind']}` adapter for {names}, on the frozen backbone"
    over = ", ".join(parent["name"] for parent in manifest.parents)
    kind = manifest.config["fusion"]["kind"]
    return f"A `{kind}` fusion of the adapters {over}, trained for {names}, on the frozen backbone"


def _what(manifest: Manifest, said: str) -> str:
    backbone = manifest.backbone
    return (
        f"{said} {backbone['name']} ({backbone['model_type']}, {backbone['layers']} layers, "
        f"hidden {backbone['hidden_size']}, fingerprint `{backbone['fingerprint'][:12]}`). Seed {manifest.seed}."
    )


def _metrics(tasks: Sequence[TaskData], metrics: Mapping[str, Any]) -> str:
    lines = ["| task | metric | validation | test |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in result_rows(tasks, metrics)]
    counts = metrics["parameters"]
    cost = f"{counts['trainable']:,} of {counts['total']:,} parameters trained, {metrics['seconds']:.0f} s."
    return (
        "\n".join(lines)
        + f"\n\n{cost} The best epoch was chosen on validation; test was read once, after that."
    )


def _data(data: TaskData) -> str:
    sizes = ", ".join(f"{len(rows):,} {split}" for split, rows in data.splits.items())
    labels = f"; labels {', '.join(data.spec.labels)}" if data.spec.labels else ""
    notes = "".join(f"\n  - {note}" for note in data.notes)
    return (
        f"- {data.spec.name}: {data.source} ({sizes}{labels}; fingerprint `{data.fingerprint[:12]}`){notes}"
    )


def _weights(weights: Mapping[str, Any]) -> str:
    lines = ["## What the fusion listens to", "", "Mean weight over layers and validation tokens:", ""]
    for task, means in mean_over_layers(dict(weights)).items():
        listed = ", ".join(
            f"{name} {weight:.2f}" for name, weight in sorted(means.items(), key=lambda x: -x[1])
        )
        lines.append(f"- {task}: {listed}")
    return "\n".join([*lines, "", "![fusion weights by layer](fusion_weights.png)"])


def _use(manifest: Manifest, tasks: Sequence[TaskData], command: str) -> str:
    several = len(tasks) > 1
    asked = [_example(d.spec) + (f', task="{d.spec.name}"' if several else "") for d in tasks]
    calls = "\n".join(f"print(model.predict({one}))" for one in asked)
    return (
        f"```python\nfrom fusion_pipeline import AdaptedModel\n\n"
        f'model = AdaptedModel.load("PATH/{manifest.name}")\n{calls}\n```\n\n'
        f"Made with:\n\n```\n{command}\n```"
    )


def _example(spec: TaskSpec) -> str:
    kind = task_type(spec.type)
    return kind.pair_example if spec.has_pair else kind.example
