"""The data an artefact is scored on: what it was trained on, found again, or what the command line names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from fusion_pipeline.artefact_json import task_specs
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.run import Run, as_list
from fusion_pipeline.specs import read_columns, read_data
from fusion_pipeline.store import Manifest
from fusion_pipeline.tasks.data import TaskData, load_tasks
from fusion_pipeline.tasks.spec import ColumnsSpec, DataSpec, TaskSpec


def load_evaluation_data(run: Run, folder: Path, manifest: Manifest, *, some: bool = False) -> list[TaskData]:
    """One data set for each head, in the heads' order.

    `task=` (with `data=` and `columns.*`) names other data; otherwise the recorded task is loaded again,
    from the recorded source or, where `data=local data.root=…` is given, from there. With `some`, fewer names
    than heads are names of heads: those alone are loaded, on the data that they were trained on.
    """
    heads = task_specs(folder)
    given = run.names("task")
    chosen = {head.name for head in heads} & set(given)
    if some and given and len(chosen) == len(given) < len(heads) and not _imported(manifest):
        everything = load_evaluation_data(_untold(run), folder, manifest)
        return [data for data in everything if data.spec.name in given]
    if not heads:
        raise PipelineError(f"'{manifest.name}' has no head to score", where="run")
    if _imported(manifest) and not given:
        raise PipelineError(
            f"'{manifest.name}' was imported: its data are not known here",
            where="task",
            hint="name the data to score it on: task=...",
        )
    values, data, columns = evaluation_source(run, folder, manifest)
    _check_number(values, heads, manifest)
    loaded = load_tasks(values, data=data, columns=columns)
    if not given:
        _check_same(loaded, manifest)
    return [_as_head(data, head) for data, head in zip(loaded, heads, strict=True)]


def evaluation_source(run: Run, folder: Path, manifest: Manifest) -> tuple[list[str], DataSpec, ColumnsSpec]:
    """(tasks, where they come from, their columns): those of `task=`, or else those recorded."""
    given = run.names("task")
    return (given, read_data(run), read_columns(run)) if given else _recorded(run, folder, manifest)


def _imported(manifest: Manifest) -> bool:
    return manifest.config.get("stage") == "import"


def _untold(run: Run) -> Run:
    """The run without a word on tasks."""
    return replace(run, config=run.config | {"task": None})


def _check_number(values: Sequence[str], heads: Sequence[TaskSpec], manifest: Manifest) -> None:
    if len(values) != len(heads):
        raise PipelineError(
            f"'{manifest.name}' has {len(heads)} heads ({', '.join(head.name for head in heads)}), "
            f"and {len(values)} tasks are named",
            where="task",
            hint="name one data set for each head, in their order, or (stage=evaluate) some of the heads",
        )


def _recorded(run: Run, folder: Path, manifest: Manifest) -> tuple[list[str], DataSpec, ColumnsSpec]:
    config = _config(folder)
    data, columns = read_data(run), ColumnsSpec(**config["columns"])
    if data.source == "embedded":
        # The command line names no source of its own: take the one recorded.
        data = DataSpec(**{key: value for key, value in config["data"].items() if key != "kind"})
    elif data.source != config["data"]["source"]:
        raise PipelineError(
            f"'{manifest.name}' was trained on data={config['data']['source']}, and this run says data={data.source}",
            where="data",
            hint="leave data= out, or name the other data with task=",
        )
    else:
        rows = ("max_train", "max_validation", "max_test", "train_sizes", "draw")
        data = replace(data, **{key: config["data"].get(key, getattr(DataSpec(), key)) for key in rows})
    # A baseline's adapter was trained for a target.
    by_task = manifest.kind == "adapter" and config["task"] is not None
    values = as_list(config["task"] if by_task else config["target"])
    return _own(values, manifest, data), data, columns


def _own(values: Sequence[str], manifest: Manifest, data: DataSpec) -> list[str]:
    """Of a stage-1 command over several tasks, the one this adapter was trained for."""
    from fusion_pipeline.tasks.resolve import task_name

    wanted = [entry["task"] for entry in manifest.data]
    return [value for value in values if task_name(value, data) in wanted]


def _check_same(loaded: Sequence[TaskData], manifest: Manifest) -> None:
    """What is found where the artefact says must be what it was trained on, to the row."""
    trained = {entry["task"]: entry["fingerprint"] for entry in manifest.data}
    for data in loaded:
        if trained.get(data.spec.name) != data.fingerprint:
            raise PipelineError(
                f"the data of {data.spec.name} are no longer those '{manifest.name}' was trained on",
                where=data.source,
                hint="name the data to score it on: task=...",
            )


def _as_head(data: TaskData, head: TaskSpec) -> TaskData:
    """The data under the head's name; other labels or another type are refused."""
    if data.spec.type == head.type and data.spec.labels and set(data.spec.labels) == set(head.labels or ()):
        return _reordered(data, head)
    if (data.spec.type, data.spec.labels) != (head.type, head.labels):
        raise PipelineError(
            f"the head '{head.name}' knows {_labels(head)}, and {data.spec.name} has {_labels(data.spec)}",
            where="task",
            hint="columns.labels=[...] gives own data the head's labels in the head's order",
        )
    return replace(data, spec=replace(data.spec, name=head.name, metric=head.metric))


def _reordered(data: TaskData, head: TaskSpec) -> TaskData:
    """The same classes by the head's numbers: each library sorts them its own way."""
    assert data.spec.labels is not None
    assert head.labels is not None
    number = [head.labels.index(name) for name in data.spec.labels]
    splits = {
        s: [row | {"label": _renumbered(row["label"], number)} for row in rows]
        for s, rows in data.splits.items()
    }
    spec = replace(data.spec, name=head.name, metric=head.metric, labels=head.labels)
    return replace(data, spec=spec, splits=splits)


def _renumbered(label: Any, number: Sequence[int]) -> Any:
    return [number[int(one)] for one in label] if isinstance(label, list) else number[int(label)]


def _labels(spec: TaskSpec) -> str:
    return f"no labels ({spec.type})" if spec.labels is None else f"the labels {', '.join(spec.labels)}"


def _config(folder: Path) -> dict[str, Any]:
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    if not isinstance(config, dict):
        raise PipelineError("the artefact's config.yaml is not a config", where=str(folder / "config.yaml"))
    return config
