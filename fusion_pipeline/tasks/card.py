"""dataset.json: the few fields that describe a dataset folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.tasks.names import check_name, safe_name
from fusion_pipeline.tasks.spec import SPLITS
from fusion_pipeline.tasks.task_types import REGRESSION, metric_names, split_type
from fusion_pipeline.tasks.types import task_type

FILE_NAME = "dataset.json"
_MINIMUM = '{"task_type": "classification", "label_names": ["negative", "positive"]}'


@dataclass(frozen=True, kw_only=True)
class DatasetCard:
    """What dataset.json says, checked; None stands for 'not said'."""

    name: str
    type: str | None
    labels: tuple[str, ...] | None
    text: str | None
    text_pair: str | None
    more: tuple[str, ...]
    label: str | None
    bounds: tuple[float, float] | None
    metric: str | None
    average: str | None
    files: Mapping[str, str] | None
    rows: Mapping[str, int | None]


def read_card(folder: Path) -> DatasetCard:
    """Reads and checks the folder's dataset.json."""
    path = folder / FILE_NAME
    values = _read(path)
    if "modality" in values and values["modality"] != "text":
        raise PipelineError(f"data of modality {values['modality']!r} is not supported yet", where=str(path))
    type_, pair = _type(values, path)
    own = task_type(type_).fields if type_ else ()
    texts = _own_fields(values.get("text_fields"), own, path) or _texts(values.get("text_fields"), pair, path)
    files = _files(values.get("files"), path)
    return DatasetCard(
        name=check_name(values.get("name", safe_name(folder.resolve().name)), f"{path}, name"),
        type=type_,
        labels=_labels(values.get("label_names"), type_, path),
        text=texts[0] if texts else None,
        text_pair=texts[1] if len(texts) > 1 else None,
        more=texts[2:],
        label=_word(values.get("label_field"), path, "label_field"),
        bounds=_bounds(values.get("label_range"), path),
        metric=_metric(values.get("primary_metric"), path),
        average=_word(values.get("metric_average"), path, "metric_average"),
        files=None if files is None else {split: _file_name(entry, path) for split, entry in files.items()},
        rows={split: entry.get("rows") for split, entry in (files or {}).items() if isinstance(entry, dict)},
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise PipelineError(
            f"the folder has no {FILE_NAME}, which describes it",
            where=str(path.parent),
            hint=f"the least: {_MINIMUM}",
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise PipelineError(f"the file is not JSON that can be read: {error}", where=str(path)) from error
    if not isinstance(values, dict):
        raise PipelineError(
            "the file is not an object like {...}", where=str(path), hint=f"the least: {_MINIMUM}"
        )
    return values


def _type(values: Mapping[str, Any], path: Path) -> tuple[str | None, bool]:
    word = values.get("task_type")
    return (None, False) if word is None else split_type(word, f"{path}, task_type")


def _own_fields(said: Any, own: tuple[str, ...], path: Path) -> tuple[str, ...]:
    """The columns of a type that has fields of its own, one for each."""
    if not own:
        return ()
    fields = own if said is None else said
    if len(fields) != len(own) or not all(isinstance(f, str) and f for f in fields):
        raise PipelineError(
            f"text_fields is a list of {len(own)} columns: {', '.join(own)}", where=f"{path}, text_fields"
        )
    return tuple(fields)


def _texts(fields: Any, pair: bool, path: Path) -> tuple[str, ...]:
    where = f"{path}, text_fields"
    if fields is None:
        return ("text", "text_pair") if pair else ()
    if not isinstance(fields, list) or not all(isinstance(f, str) and f for f in fields) or not fields:
        raise PipelineError("text_fields is a list of one or two columns", where=where, hint='["text"]')
    if len(fields) > 2 or (pair and len(fields) == 1):
        need = "two" if pair else "one or two"
        raise PipelineError(
            f"{len(fields)} text columns, {need} are needed: {', '.join(fields)}", where=where
        )
    return tuple(fields)


def _labels(names: Any, type_: str | None, path: Path) -> tuple[str, ...] | None:
    if names is None:
        return None
    where = f"{path}, label_names"
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise PipelineError("label_names is a list of words", where=where, hint='["negative", "positive"]')
    if type_ and not task_type(type_).named:
        hint = "label_range: [1, 5]" if type_ == REGRESSION else "leave it out"
        raise PipelineError(f"a {type_} task has no label_names", where=where, hint=hint)
    return tuple(name.strip() for name in names)


def _bounds(range_: Any, path: Path) -> tuple[float, float] | None:
    if range_ is None:
        return None
    numbers = isinstance(range_, list) and all(isinstance(x, int | float) for x in range_)
    if not numbers or len(range_) != 2 or not range_[0] < range_[1]:
        raise PipelineError("label_range is the least and the greatest label", where=str(path), hint="[1, 5]")
    return float(range_[0]), float(range_[1])


def _metric(metric: Any, path: Path) -> str | None:
    known = metric_names()
    if metric is not None and metric not in known:
        hint = did_you_mean(str(metric), known)
        raise PipelineError(f"unknown metric {metric!r}", where=f"{path}, primary_metric", hint=hint)
    return metric


def _word(value: Any, path: Path, key: str) -> str | None:
    if value is not None and (not isinstance(value, str) or not value):
        raise PipelineError(f"{key} is a word, not {value!r}", where=str(path))
    return value


def _files(files: Any, path: Path) -> dict[str, Any] | None:
    if files is None:
        return None
    where = f"{path}, files"
    if not isinstance(files, dict) or "train" not in files:
        raise PipelineError(
            "files names the train file at least", where=where, hint='{"train": "train.jsonl"}'
        )
    for split in files:
        if split not in SPLITS:
            raise PipelineError(f"unknown split {split!r}", where=where, hint=did_you_mean(split, SPLITS))
    return files


def _file_name(entry: Any, path: Path) -> str:
    """The file's name; it has to stay inside the folder, whoever wrote the dataset.json."""
    name = entry.get("file") if isinstance(entry, dict) else entry
    where = f"{path}, files"
    if not isinstance(name, str) or not name:
        raise PipelineError(
            f"{entry!r} names no file", where=where, hint='"train.jsonl" or {"file": "train.jsonl"}'
        )
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in name or ":" in name:
        raise PipelineError(f"'{name}' leaves the folder", where=where, hint="name a file inside the folder")
    return name
