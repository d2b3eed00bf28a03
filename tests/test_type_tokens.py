"""Token classification: words, pieces, entities."""

import random

import numpy as np
import pytest
import tiny
import typed

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.entities import entities, entity_scores, is_bio
from fusion_pipeline.tasks.types.token_classification import IGNORED
from fusion_pipeline.training.encoding import encode_task

NAMES = ["O", "B-x", "I-x"]
CARD = {"task_type": "token_classification", "label_names": NAMES}


def rows(count=60):
    draw = random.Random(0)
    made = []
    for _ in range(count):
        words = [draw.choice(["ab", "cde", "zz"]) for _ in range(draw.randint(1, 6))]
        made.append({"tokens": words, "tags": [1 if word == "zz" else 0 for word in words]})
    return [*made, {"tokens": ["zz", "q"], "tags": [1, 2]}]


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("O B-x I-x O", {("x", 1, 2)}),
        ("B-x B-x", {("x", 0, 0), ("x", 1, 1)}),
        ("I-x I-x O I-y", {("x", 0, 1), ("y", 3, 3)}),
        ("B-x I-y I-y", {("x", 0, 0), ("y", 1, 2)}),
        ("B-a-b I-a-b", {("a-b", 0, 1)}),
        ("O O", set()),
    ],
)
def test_entities_of_well_and_ill_formed_tags(tags, found):
    assert entities(tags.split()) == found


def test_scores_of_a_worked_example():
    right = [["B-x", "I-x", "O", "B-y"], ["B-x"]]
    said = [["B-x", "I-x", "O", "B-x"], [None]]
    found = entity_scores(said, right)
    assert found == {
        "precision": pytest.approx(1 / 2),
        "recall": pytest.approx(1 / 3),
        "f1": pytest.approx(2 / 5),
    }
    assert entity_scores([["O"]], [["O"]])["f1"] == 0.0


def test_which_tags_are_of_entities():
    assert is_bio(NAMES)
    assert not is_bio(["NOUN", "VERB"])
    assert not is_bio(["O", "P"])


def test_a_tag_stands_at_the_first_piece_of_its_word(tmp_path):
    data = typed.load(typed.folder(tmp_path / "t", rows(), **CARD))
    found = encode_task(data, tiny.adapted().info, None)["train"]
    for i, row in enumerate(data.splits["train"]):
        label, words = found.label(i), row["tokens"]
        assert len(label) == found.lengths[i]
        assert [v for v in label if v != IGNORED] == row["label"]
        pieces = [letter == 0 for word in words for letter in range(len(word))]
        assert sum(pieces) == int(np.sum(label != IGNORED))


def test_words_that_are_cut_off_count_and_are_said(tmp_path):
    long = {"tokens": ["zz"] * 40, "tags": [1] * 40}
    data = typed.load(typed.folder(tmp_path / "t", [*rows(), *[long] * 9], **CARD))
    from fusion_pipeline.tasks.types.token_classification import TYPE

    found = encode_task(data, tiny.adapted(max_length=20).info, None)["train"]
    index = next(i for i, row in enumerate(data.splits["train"]) if len(row["tokens"]) == 40)
    said = TYPE.answer(np.tile([0.0, 1.0, 0.0], (20, 1)), tuple(NAMES), found, index).prediction
    kept = int(np.sum(found.label(index) != IGNORED))
    assert 0 < kept < 40
    assert said == ["B-x"] * kept + ["O"] * (40 - kept)
    assert "cut off" in TYPE.notes(found)[0]


def test_a_whole_run_tags_every_word(tmp_path):
    metrics, predictions, said = typed.whole(typed.folder(tmp_path / "t", rows(), **CARD), tmp_path)
    assert set(metrics["test"]) >= {"f1", "precision", "recall", "accuracy", "loss"}
    assert all(len(row["prediction"]) == len(row["label"]) == len(row["tokens"]) for row in predictions)
    right = sum(a == b for row in predictions for a, b in zip(row["label"], row["prediction"], strict=True))
    assert right / sum(len(row["label"]) for row in predictions) == pytest.approx(metrics["test"]["accuracy"])
    assert [row["tokens"] for row in said] == [row["tokens"] for row in rows()]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"tokens": ["a"], "tags": [0, 1]}, "2 tags for 1 words"),
        ({"tokens": "a b", "tags": [0, 1]}, "that is no list"),
        ({"tokens": ["a", " "], "tags": [0, 1]}, "empty word"),
        ({"tokens": ["a"], "tags": ["B-z"]}, "'B-z'"),
    ],
)
def test_bad_rows_are_refused_with_their_line(tmp_path, row, why):
    with pytest.raises(PipelineError) as caught:
        typed.load(typed.folder(tmp_path / "t", [*rows(), row], **CARD))
    assert why in str(caught.value)
    assert "line 62" in str(caught.value)
