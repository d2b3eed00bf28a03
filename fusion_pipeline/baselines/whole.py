"""A backbone that trains as a whole, with a head for each task."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import set_seed

from fusion_pipeline.artefacts import write_whole
from fusion_pipeline.baselines.spec import Given
from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.specs import Specs
from fusion_pipeline.tasks.data import TaskData
from fusion_pipeline.workflow import Training, build_heads


def whole_training(given: Given, tasks: Sequence[TaskData], specs: Specs | None = None) -> Training:
    """All weights of the backbone and the tasks' heads; the first task's head answers where none is named."""
    heads = [data.spec for data in tasks]
    names = [head.name for head in heads]
    set_seed(given.run.seed)
    model = AdaptedModel(given.backbone)
    build_heads(model, tasks, given.specs.head)
    model.train_only(heads=names, backbone=True)
    model.set_active(None, head=names[0])
    return Training(
        job=given.job,
        specs=specs or given.specs,
        kind="model",
        name=given.name,
        tasks=tasks,
        model=model,
        write=lambda folder: write_whole(model, heads, folder),
        what=f"A model for {', '.join(names)}, all of it fine-tuned from the backbone",
    )
