"""A merged artefact of ours gets the head it was judged with."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_pipeline import store
from fusion_pipeline.artefact_json import MODEL, read_model
from fusion_pipeline.merging.judged_heads import HEADS

if TYPE_CHECKING:
    from fusion_pipeline.heads import Head
    from fusion_pipeline.merging.judging import Judge, Judged
    from fusion_pipeline.merging.output import Writing
    from fusion_pipeline.run import Run
    from fusion_pipeline.tasks.data import TaskData

_HOW = {"fit": "fitted to the task's train split", "mean": "the weighted mean of the inputs' heads"}


def write_headed(run: Run, judged: Judged, judge: Judge, writing: Writing) -> dict[str, Any]:
    """Writes a judged merge; one of our format has the head it was judged with. Returns `merge.json`'s content."""
    from fusion_pipeline.merging.output import write_merge

    record = write_merge(judged.plan, replace(writing, head_from="none"))
    if writing.of(judged.plan) == "native":
        publish_with_head(
            writing.output, run, judged.head, judge.data, _HOW.get(str(judge.rule), str(judge.rule))
        )
    return record


def publish_with_head(folder: Path, run: Run, head: Head, data: TaskData, how: str) -> None:
    """Replaces the artefact by itself with this head, as a whole: a reader sees either the one or the other.

    It is then scored by `stage=evaluate` and asked by `stage=predict` like any adapter of the task.
    """
    from fusion_pipeline.workflow import describe_data, write_json

    manifest, task = store.verify(folder), data.spec
    config = manifest.config | {"task": task.name, "data": run.section("data"), "head_from": how}
    config["data"].pop("root", None)
    told = [note for note in manifest.notes if "head" not in note]
    changed = replace(
        manifest, config=config, data=[describe_data(data)], notes=[*told, f"its head for {task.name}: {how}"]
    )
    saved = read_model(folder) | {"heads": {task.name: head.spec.values()}, "tasks": [asdict(task)]}
    with store.publish(folder, changed, overwrite=True) as fresh:
        shutil.copytree(folder, fresh, dirs_exist_ok=True, ignore=shutil.ignore_patterns(store.MANIFEST))
        tensors = {f"{task.name}/{key}": value for key, value in head.state_dict().items()}
        store.save_tensors(fresh / HEADS, tensors)
        write_json(fresh / MODEL, saved)
        _write_config(fresh / "config.yaml", run)


def _write_config(path: Path, run: Run) -> None:
    """What scoring it again reads: the run's task, data and columns, beside what the merge wrote."""
    import yaml

    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    given = {key: run.config.get(key) for key in ("task", "data", "columns", "backbone")}
    path.write_text(yaml.safe_dump({**content, **given}, sort_keys=False), encoding="utf-8")
