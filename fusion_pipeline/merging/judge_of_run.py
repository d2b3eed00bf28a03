"""The judge that a run asks for: its task, its backbone, its rule for heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.run import Run

if TYPE_CHECKING:
    from fusion_pipeline.merging.judging import Judge
    from fusion_pipeline.merging.source import Source
    from fusion_pipeline.model import AdaptedModel
    from fusion_pipeline.tasks.data import TaskData


def load_judged_task(run: Run) -> TaskData:
    """The one task of `task=`."""
    from fusion_pipeline.specs import check_tasks, read_columns, read_data
    from fusion_pipeline.tasks.data import load_tasks

    names = run.names("task")
    if len(names) != 1:
        raise PipelineError(
            f"merges are judged on one task, and {len(names) or 'none'} is given",
            where="task",
            hint="task=rte",
        )
    check_tasks(run, "task")
    return load_tasks(names, data=read_data(run), columns=read_columns(run))[0]


def judge_of(run: Run, sources: Sequence[Source], data: TaskData) -> Judge:
    """The judge over opened adapters."""
    from fusion_pipeline.merging.judging import Judge

    rule = run.value("head_from")
    return Judge(
        model=bare_model(run, sources),
        data=data,
        sources=sources,
        rule=None if rule is None else str(rule),
        cache=run.output_root / ".cache" / "tokens",
    )


def bare_model(run: Run, sources: Sequence[Source]) -> AdaptedModel:
    """The backbone of the first adapter that is ours, else the command line's, with nothing on it."""
    from fusion_pipeline import store
    from fusion_pipeline.artefacts import backbone_spec
    from fusion_pipeline.backbone.loading import load_backbone
    from fusion_pipeline.model import AdaptedModel
    from fusion_pipeline.specs import read_backbone

    native = next((source for source in sources if source.format == "native"), None)
    if native is None:
        return AdaptedModel(load_backbone(read_backbone(run)))
    path = run.section("backbone").get("path")
    return AdaptedModel(load_backbone(backbone_spec(store.Manifest.read(native.folder), path)))
