"""The hub through `load_dataset`, against downloaded repositories laid out as the hub lays them out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.data import TaskData, load_task
from fusion_pipeline.tasks.spec import ColumnsSpec, DataSpec

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


def repository(
    root: Path, id_: str, config: str | None, splits: dict[str, dict], names: list[str] | None
) -> None:
    """Parquet files below a configuration's folder, and a card that lists them."""
    folder = root / id_
    files = []
    for split, columns in splits.items():
        dataset = datasets.Dataset.from_dict(columns)
        if names:
            dataset = dataset.cast_column("label", datasets.ClassLabel(names=names))
        path = Path(config or "data") / f"{split}-00000-of-00001.parquet"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        dataset.to_parquet(folder / path)
        files.append({"split": split, "path": str(path)})
    card = {"configs": [{"config_name": config or "default", "data_files": files}]}
    (folder / "README.md").write_text(f"---\n{json.dumps(card)}\n---\n")


def load(value: str, root: Path | None, columns: ColumnsSpec | None = None, **more: object) -> TaskData:
    data = DataSpec(source="hub", root=str(root) if root else None, **more)
    return load_task(value, data=data, columns=columns or ColumnsSpec())


def pairs(count: int, label: object, first: str = "sentence1", second: str = "sentence2") -> dict:
    return {
        first: [f"a {i}" for i in range(count)],
        second: [f"b {i}" for i in range(count)],
        "label": [label(i) for i in range(count)] if callable(label) else [label] * count,
    }


def test_glue_with_hidden_test_labels_takes_validation_for_test_and_cuts_train(tmp_path):
    splits = {
        "train": pairs(40, lambda i: i % 2),
        "validation": pairs(6, lambda i: i % 2),
        "test": pairs(5, -1),
    }
    repository(tmp_path, "nyu-mll/glue", "rte", splits, ["entailment", "not_entailment"])
    task = load("rte", tmp_path)
    assert task.sizes == {"train": 36, "validation": 4, "test": 6}
    assert task.spec.labels == ("entailment", "not_entailment")
    assert task.splits["test"][1] == {"text": "a 1", "text_pair": "b 1", "label": 1}
    assert task.source.startswith("hub nyu-mll/glue rte")
    assert any("test is the official validation set" in note for note in task.notes)
    assert any(note.startswith("validation: 10%") for note in task.notes)


def test_classes_are_mapped_by_name_whatever_their_order_on_the_hub(tmp_path):
    text = {"text": [f"film {i}" for i in range(20)], "label": [i % 2 for i in range(20)]}
    repository(tmp_path, "stanfordnlp/imdb", None, {"train": text, "test": text}, ["pos", "neg"])
    task = load("imdb", tmp_path)
    assert task.spec.labels == ("negative", "positive")
    assert [row["label"] for row in task.splits["test"][:2]] == [1, 0]


def test_pairs_without_agreed_label_are_left_out_and_counted(tmp_path):
    split = pairs(30, lambda i: i % 3 if i % 10 else -1, "premise", "hypothesis")
    splits = dict.fromkeys(("train", "validation", "test"), split)
    repository(tmp_path, "stanfordnlp/snli", None, splits, ["entailment", "neutral", "contradiction"])
    task = load("snli", tmp_path)
    assert task.sizes["train"] == 27
    assert "train: 3 rows without a label or a text left out" in task.notes


def test_truth_values_and_numbers_without_names_are_mapped(tmp_path):
    answers = pairs(20, lambda i: i % 2 == 0, "question", "passage")
    answers["answer"] = answers.pop("label")
    repository(tmp_path, "google/boolq", None, {"train": answers, "validation": answers}, None)
    task = load("boolq", tmp_path)
    assert task.spec.labels == ("no", "yes")
    assert [row["label"] for row in task.splits["test"][:2]] == [1, 0]
    sick = pairs(30, lambda i: i % 3, "sentence_A", "sentence_B")
    repository(tmp_path, "tasksource/sick", None, dict.fromkeys(("train", "validation", "test"), sick), None)
    task = load("sick", tmp_path)
    assert task.spec.labels == ("entailment", "neutral", "contradiction")
    assert [row["label"] for row in task.splits["test"][:3]] == [0, 1, 2]


def test_a_repository_named_by_its_id_takes_columns(tmp_path):
    content = {"body": [f"t {i}" for i in range(30)], "label": [i % 2 for i in range(30)]}
    repository(tmp_path, "me/my.set", "small", {"train": content}, ["nay", "aye"])
    task = load("me/my.set", tmp_path, ColumnsSpec(text="body"), config="small")
    assert (task.spec.name, task.spec.labels) == ("my_set", ("nay", "aye"))
    assert sum(task.sizes.values()) == 30


@pytest.mark.parametrize(
    ("columns", "config", "said"),
    [
        ({"text": "bodi"}, None, "no column 'bodi'"),
        ({"text": "body", "label": "stars"}, None, "no column 'stars'"),
        ({"text": "body"}, "big", "cannot be loaded"),
        ({"text": "body", "test": "x.csv"}, None, "goes with files"),
    ],
)
def test_a_hub_data_set_that_does_not_fit_is_refused(tmp_path, columns, config, said):
    content = {"body": ["t"] * 30, "label": [i % 2 for i in range(30)]}
    repository(tmp_path, "me/set", None, {"train": content}, None)
    with pytest.raises(PipelineError, match=said):
        load("me/set", tmp_path, ColumnsSpec(**columns), config=config)


def test_a_missing_split_or_download_is_refused(tmp_path):
    repository(
        tmp_path,
        "nyu-mll/glue",
        "rte",
        {"train": pairs(20, lambda i: i % 2)},
        ["entailment", "not_entailment"],
    )
    with pytest.raises(PipelineError, match="no split 'validation'; there are: train"):
        load("rte", tmp_path)
    with pytest.raises(PipelineError, match="no download of stanfordnlp/imdb"):
        load("imdb", tmp_path)
    with pytest.raises(PipelineError, match=r"data\.config goes with a hub id"):
        load("rte", tmp_path, config="rte")


def test_an_unreachable_hub_says_what_to_set_instead(monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(PipelineError, match="hub cannot be reached") as caught:
        load("rte", None)
    assert "data=local data.root=DIR" in caught.value.hint
    assert "nyu-mll/glue" in caught.value.where
