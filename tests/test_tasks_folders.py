"""Dataset folders: dataset.json with few fields, and what it may not do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.data import TaskData, load_task
from fusion_pipeline.tasks.resolve import task_name
from fusion_pipeline.tasks.spec import ColumnsSpec, DataSpec


def rows(labels: list, **more: str) -> str:
    return "".join(json.dumps({"text": f"s {i}", **more, "label": y}) + "\n" for i, y in enumerate(labels))


def folder(path: Path, card: dict | str, **files: str) -> Path:
    path.mkdir(parents=True)
    (path / "dataset.json").write_text(card if isinstance(card, str) else json.dumps(card))
    for name, content in files.items():
        (path / name.replace("__", ".")).write_text(content)
    return path


def load(value: Path | str, columns: ColumnsSpec | None = None, **data: object) -> TaskData:
    return load_task(str(value), data=DataSpec(**data), columns=columns or ColumnsSpec())


def test_an_empty_dataset_json_is_enough(tmp_path):
    path = folder(tmp_path / "my set", {}, train__jsonl=rows(["no", "yes"] * 10))
    task = load(path)
    assert (task.spec.name, task.spec.labels) == ("my_set", ("no", "yes"))
    assert task.source == f"local folder {path}"
    assert set(task.splits) == {"train", "validation", "test"}


def test_numbers_are_positions_and_words_are_names(tmp_path):
    card = {"name": "mine", "task_type": "classification", "label_names": ["yes", "no"]}
    task = load(
        folder(tmp_path / "a", card, train__jsonl=rows([0, "no"] * 10), test__csv="text,label\nlast,yes\n")
    )
    assert task.spec.labels == ("yes", "no")
    assert task.splits["test"] == [{"text": "last", "label": 0}]
    others = [row for split in ("train", "validation") for row in task.splits[split]]
    assert all(row["label"] == int(row["text"].split()[1]) % 2 for row in others)


def test_pair_regression_with_range_and_own_field_names(tmp_path):
    card = {
        "task_type": "pair_regression",
        "text_fields": ["a", "b"],
        "label_field": "score",
        "label_range": [0, 5],
        "primary_metric": "spearman",
        "files": {"train": "all.jsonl"},
    }
    content = "".join(json.dumps({"a": f"x {i}", "b": f"y {i}", "score": i / 4}) + "\n" for i in range(20))
    path = folder(tmp_path / "sts", card, all__jsonl=content)
    task = load(path)
    assert (task.spec.type, task.spec.metric, task.spec.has_pair) == ("regression", "spearman", True)
    (path / "all.jsonl").write_text(content + json.dumps({"a": "x", "b": "y", "score": 5.5}))
    with pytest.raises(PipelineError, match="out of the range 0 to 5") as caught:
        load(path)
    assert caught.value.where.endswith("line 21")


@pytest.mark.parametrize(
    ("metric", "average", "names", "expected"),
    [
        ("f1", "binary", ["a", "b"], "f1"),
        ("f1", None, ["a", "b"], "f1"),
        ("f1", "macro", ["a", "b"], "f1_macro"),
        ("f1", None, ["a", "b", "c"], "f1_macro"),
        ("matthews", None, ["a", "b"], "matthews"),
        (None, None, ["a", "b"], "accuracy"),
    ],
)
def test_the_primary_metric_follows_the_card(tmp_path, metric, average, names, expected):
    card = {"label_names": names, "primary_metric": metric, "metric_average": average}
    assert load(folder(tmp_path / "a", card, train__jsonl=rows(names * 10))).spec.metric == expected


def test_columns_override_the_card_of_a_folder_given_by_path(tmp_path):
    content = "".join(
        json.dumps({"text": f"s {i}", "title": f"t {i}", "label": i % 2, "score": i / 3}) + "\n"
        for i in range(20)
    )
    path = folder(tmp_path / "a", {"label_names": ["no", "yes"]}, train__jsonl=content)
    renamed = load(path, ColumnsSpec(text="title", labels=("nay", "aye")))
    assert renamed.spec.labels == ("nay", "aye")
    assert renamed.splits["train"][0]["text"].startswith("t ")
    assert load(path, ColumnsSpec(label="score")).spec.type == "regression"
    assert load(path, ColumnsSpec(type="regression")).spec.labels is None


def test_columns_of_a_named_task_are_fixed(tmp_path):
    folder(tmp_path / "a", {}, train__jsonl=rows(["no", "yes"] * 10))
    with pytest.raises(PipelineError, match="fixed columns"):
        load("a", ColumnsSpec(text="title"), source="local", root=str(tmp_path))


def test_a_note_says_when_the_card_counts_other_rows(tmp_path):
    card = {"files": {"train": {"file": "train.jsonl", "rows": 99}}}
    notes = load(folder(tmp_path / "a", card, train__jsonl=rows(["no", "yes"] * 10))).notes
    assert any("says 99 rows, the file has 20" in note for note in notes)


BAD_CARDS = {
    "not json": ("{", "not JSON"),
    "a list": ("[]", "not an object"),
    "name with a separator": ({"name": "../../etc"}, "cannot be a task's name"),
    "empty name": ({"name": ""}, "cannot be a task's name"),
    "multiple choice": ({"task_type": "multiple_choice"}, "no column 'choices'"),
    "tokens": ({"task_type": "token_classification"}, "no column 'tokens'"),
    "spans": ({"task_type": "span_qa"}, "no column 'context'"),
    "images": ({"modality": "image", "tasks": {}}, "not supported yet"),
    "misspelt type": ({"task_type": "clasification"}, "did you mean 'classification'"),
    "unknown metric": ({"primary_metric": "acuracy"}, "did you mean 'accuracy'"),
    "metric of another type": ({"primary_metric": "pearson"}, "no metric 'pearson' for classification"),
    "three texts": ({"text_fields": ["a", "b", "c"]}, "one or two"),
    "a pair of one": ({"task_type": "pair_classification", "text_fields": ["text"]}, "two are needed"),
    "label names in regression": ({"task_type": "regression", "label_names": ["a", "b"]}, "no label_names"),
    "label range upside down": ({"label_range": [5, 1]}, "label_range"),
    "no train file": ({"files": {"test": "train.jsonl"}}, "train file"),
    "unknown split": ({"files": {"train": "train.jsonl", "dev": "x"}}, "unknown split 'dev'"),
    "parent folder": ({"files": {"train": "../train.jsonl"}}, "leaves the folder"),
    "absolute path": ({"files": {"train": "/etc/passwd"}}, "leaves the folder"),
    "windows path": ({"files": {"train": "..\\train.jsonl"}}, "leaves the folder"),
    "file that is not there": ({"files": {"train": "gone.jsonl"}}, "no such file"),
    "missing text column": ({"text_fields": ["txt"]}, "text_fields"),
    "class without rows": ({"label_names": ["no", "yes", "maybe"]}, "no row of train"),
}


@pytest.mark.parametrize("case", BAD_CARDS)
def test_bad_dataset_json_is_refused(tmp_path, case):
    card, said = BAD_CARDS[case]
    path = folder(tmp_path / "a", card, train__jsonl=rows(["no", "yes"] * 10))
    with pytest.raises(PipelineError) as caught:
        load(path)
    assert said in str(caught.value)
    assert str(path) in caught.value.where or "task '" in caught.value.where


def test_two_train_files_or_none_or_no_card_are_refused(tmp_path):
    both = folder(tmp_path / "both", {}, train__jsonl=rows([0, 1]), train__csv="text,label\n")
    none = folder(tmp_path / "none", {})
    bare = tmp_path / "bare"
    bare.mkdir()
    for path, said in [(both, "which file is train"), (none, "no train file"), (bare, "no dataset.json")]:
        with pytest.raises(PipelineError, match=said):
            load(path)


def test_the_name_is_known_without_reading_rows(tmp_path):
    path = folder(tmp_path / "a", {"name": "named-here", "files": {"train": "gone.csv"}})
    assert task_name(str(path), DataSpec()) == "named-here"
