"""What each adapter is worth to a trained fusion: the metric without it, and with it alone. Heads stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fusion_pipeline.inspection.bootstrap import draw, effect, points
from fusion_pipeline.tasks.parts import Parts
from fusion_pipeline.tasks.spec import TaskSpec
from fusion_pipeline.training.encoding import Encoded
from fusion_pipeline.training.fit import evaluate_splits
from fusion_pipeline.training.scoring import TaskOutputs
from fusion_pipeline.training.trainer import PipelineTrainer

Outputs = dict[str, list[TaskOutputs]]
"""By who is there: one `TaskOutputs` for each task."""

ALL, NONE, WITHOUT, ALONE = "all", "none", "without", "alone"


def variants(adapters: Sequence[str], groups: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """{"without sst2": the others, "alone sst2": (sst2,), …}; groups of adapters are `group x`."""
    found: dict[str, tuple[str, ...]] = {ALL: tuple(adapters), NONE: ()}
    named = {name: (name,) for name in adapters} | {f"group {g}": tuple(own) for g, own in groups.items()}
    for name, own in named.items():
        rest = tuple(other for other in adapters if other not in own)
        if rest:
            found[f"{WITHOUT} {name}"] = rest
            found[f"{ALONE} {name}"] = tuple(own)
    return found


def score_variants(
    trainer: PipelineTrainer,
    tasks: Sequence[TaskSpec],
    encoded: Sequence[Encoded],
    wanted: Mapping[str, tuple[str, ...]],
) -> Outputs:
    """What the model says with each choice of adapters; afterwards all are active again."""
    model = trainer.model
    fusion, adapters = model.active_fusion, model.active_adapters
    found: Outputs = {}
    try:
        for name, own in wanted.items():
            model.set_active(own or None, fusion=fusion if own else None)
            _, outputs, _ = evaluate_splits(trainer, tasks, {"here": list(encoded)}, ("here",))
            found[name] = outputs["here"]
    finally:
        model.set_active(adapters, fusion=fusion)
    return found


def effects_of(
    outputs: Outputs,
    task: int,
    *,
    scale: float,
    facets: Mapping[str, Parts],
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """{"all": {metric, loss}, "none": effect, "without": {adapter: effect}, "alone": {adapter: effect}, "facets"}."""
    whole = outputs[ALL][task]
    drawn = draw(len(whole.ids), resamples, seed)
    scored = whole.metrics(scale)
    found: dict[str, Any] = {ALL: {"metric": scored[whole.spec.metric], "loss": scored["loss"]}}
    for name, several in outputs.items():
        if name == ALL:
            continue
        kind, _, adapter = name.partition(" ")
        told = effect(several[task], whole, scale=scale, drawn=drawn).as_json()
        if adapter:
            found.setdefault(kind, {})[adapter] = told
        else:
            found[kind] = told
    return found | {"facets": {name: _by_part(outputs, task, parts) for name, parts in facets.items()}}


def _by_part(outputs: Outputs, task: int, parts: Parts) -> dict[str, Any]:
    """{part: {"examples": n, "all": mean, "without": {…}, "alone": {…}}} of how well each example is answered.

    An example belongs where any of it does, so that parts of single tokens are left out.
    """
    found: dict[str, Any] = {}
    if not parts.names or outputs[ALL][task].spec.labels is None:
        return found
    means = {name: points(several[task]) for name, several in outputs.items()}
    members = np.stack([parts.of(int(i)).any((0, 1)) for i in outputs[ALL][task].ids])
    for p, part in enumerate(parts.names):
        rows = members[:, p]
        if not rows.any():
            continue
        told: dict[str, Any] = {"examples": int(rows.sum())}
        for name, values in means.items():
            kind, _, adapter = name.partition(" ")
            value = float(values[rows].mean())
            if adapter:
                told.setdefault(kind, {})[adapter] = value
            else:
                told[kind] = value
        found[part] = told
    return found
