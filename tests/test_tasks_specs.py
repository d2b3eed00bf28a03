"""Specs check themselves; every task yaml and data yaml composes."""

from __future__ import annotations

import pytest
import yaml

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.registry import config_dir
from fusion_pipeline.tasks.catalog import entry_names, find_entry, read_entry
from fusion_pipeline.tasks.embedded import TASKS
from fusion_pipeline.tasks.spec import SPLITS, ColumnsSpec, DataSpec, TaskSpec
from fusion_pipeline.tasks.types import task_type

GOOD = {"name": "a", "type": "classification", "labels": ("no", "yes"), "metric": "accuracy"}


@pytest.mark.parametrize("name", entry_names())
def test_every_task_yaml_loads_and_names_a_source(name):
    entry = find_entry(name)
    assert entry.name == name
    assert entry.sources
    assert entry.metric in task_type(entry.type).metrics
    if entry.embedded:
        assert entry.embedded in TASKS
    if entry.hub:
        TaskSpec(name=name, type=entry.type, labels=entry.labels, metric=entry.metric)
        assert entry.hub.text
        assert entry.hub.label
        assert {"train", "test"} <= set(entry.hub.splits) <= set(SPLITS)
        assert len(set(entry.hub.splits.values())) == len(entry.hub.splits)
        assert set(entry.hub.labels.values()) <= set(entry.labels or ())


def test_the_tasks_of_the_paper_are_there():
    paper = {"mnli", "qqp", "sst2", "imdb", "scitail", "boolq", "mrpc", "sick", "rte", "cb"}
    assert paper | {"sentiment", "nli", "paraphrase", "topic", "review_check"} <= set(entry_names())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("- a\n", "keys and values"),
        ("type: classification\n", "not complete"),
        ("type: regression\nmetric: pearson\nlables: [a]\n", "did you mean 'labels'"),
        ("type: regression\nmetric: pearson\nhub: {id: a/b, splits: {dev: x}}\n", "unknown split 'dev'"),
        ("type: regression\nmetric: accuracy\nhub: {id: a/b}\n", "no metric"),
        ("type: [\n", "cannot be read"),
    ],
)
def test_bad_task_yaml_is_refused(tmp_path, content, said):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(PipelineError, match=said):
        read_entry(path)


@pytest.mark.parametrize("source", ["embedded", "local", "hub"])
def test_data_yaml_holds_every_field_of_the_spec(source):
    values = yaml.safe_load((config_dir() / "data" / f"{source}.yaml").read_text())
    if source == "local":
        with pytest.raises(PipelineError, match=r"data=local needs data\.root=DIR") as caught:
            DataSpec(**values)
        assert "$FUSION_DATA" in caught.value.hint
        values["root"] = "data"
    spec = DataSpec(**values)
    assert spec.source == source
    assert set(values) == set(DataSpec.__dataclass_fields__)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a/b"},
        {"name": ".."},
        {"type": "ranking"},
        {"type": "clustering"},
        {"labels": None},
        {"labels": ("one",)},
        {"labels": ("a", "a")},
        {"labels": "ab"},
        {"labels": ("a", "")},
        {"metric": "pearson"},
        {"metric": "bleu"},
        {"labels": ("a", "b", "c"), "metric": "f1"},
        {"type": "regression", "metric": "pearson"},
        {"text": ("text_pair",)},
    ],
)
def test_bad_task_spec_is_refused(wrong):
    with pytest.raises(PipelineError):
        TaskSpec(**{**GOOD, **wrong})


def test_task_spec_takes_lists_and_knows_its_head_size():
    spec = TaskSpec(**{**GOOD, "labels": ["no", "yes", "maybe"], "text": ["text", "text_pair"]})
    assert (spec.labels, spec.has_pair, spec.output_size) == (("no", "yes", "maybe"), True, 3)
    assert TaskSpec(name="r", type="regression", labels=None, metric="pearson").output_size == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"source": "locale", "root": "x"}, "did you mean 'local'"),
        ({"root": "x"}, "data=local data.root=x"),
        ({"revision": "main"}, "data=hub"),
        ({"seed": -1}, "data.seed"),
        ({"seed": True}, "data.seed"),
        ({"max_train": 0}, "data.max_train"),
        ({"max_test": 1.5}, "data.max_test"),
    ],
)
def test_bad_data_spec_is_refused(wrong, said):
    with pytest.raises(PipelineError) as caught:
        DataSpec(**wrong)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": "label"},
        {"text": "a", "text_pair": "a"},
        {"text": ""},
        {"type": "words"},
        {"labels": ("a",)},
        {"labels": ("a", "a")},
        {"labels": (1, 1.0)},
        {"labels": ("a", None)},
        {"labels": ("a", "b"), "type": "regression"},
    ],
)
def test_bad_columns_spec_is_refused(wrong):
    with pytest.raises(PipelineError) as caught:
        ColumnsSpec(**wrong)
    assert "columns" in caught.value.where


def test_label_names_given_as_numbers_or_booleans_are_words():
    assert ColumnsSpec(labels=[1, 2.0, 2.5, True]).labels == ("1", "2", "2.5", "true")
