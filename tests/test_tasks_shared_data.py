"""Real data sets, where FUSION_DATA names a folder of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.catalog import entry_names, find_entry
from fusion_pipeline.tasks.data import load_task
from fusion_pipeline.tasks.resolve import known_tasks
from fusion_pipeline.tasks.spec import ColumnsSpec, DataSpec
from fusion_pipeline.tasks.task_types import PAIR_TYPES
from fusion_pipeline.tasks.types import type_names

ROOT = Path(os.environ.get("FUSION_DATA") or "/nowhere")
SUPPORTED = {*type_names(), *PAIR_TYPES}

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not ROOT.is_dir(), reason="FUSION_DATA does not name a folder"),
]


def cards() -> dict[str, dict]:
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(ROOT.glob("*/dataset.json"))}


def data() -> DataSpec:
    return DataSpec(source="local", root=str(ROOT))


def test_every_supported_folder_loads_whole_and_every_other_is_refused():
    loaded = 0
    for name, card in cards().items():
        if card.get("task_type") not in SUPPORTED:
            with pytest.raises(PipelineError, match="not supported yet"):
                load_task(name, data=data(), columns=ColumnsSpec())
            continue
        task = load_task(name, data=data(), columns=ColumnsSpec())
        assert task.sizes == card["sizes"], name
        assert list(task.spec.labels or ()) == (card["label_names"] or []), name
        assert task.spec.metric.split("_")[0] == card["primary_metric"], name
        assert len(task.spec.text) == len(card["text_fields"]), name
        loaded += 1
    assert loaded > 10


def test_yaml_labels_and_metric_agree_with_the_local_folder():
    for name in entry_names():
        entry = find_entry(name)
        if not entry.hub or entry.local not in cards():
            continue
        spec = load_task(name, data=data(), columns=ColumnsSpec()).spec
        assert (spec.type, spec.labels, spec.metric) == (entry.type, entry.labels, entry.metric), name


def test_named_tasks_are_known():
    assert {"sentiment", "nli", "snli", "rte"} <= set(known_tasks(data()))
