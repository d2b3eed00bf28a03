"""Several labels at once."""

import random

import pytest
import torch
import typed
from torch.nn import functional as F

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.types.multi_label_classification import TYPE

CARD = {"task_type": "multi_label_classification", "label_names": ["x", "y", "z"]}


def rows(count=60):
    draw = random.Random(0)
    made = []
    for n in range(count):
        names = [name for name in "xyz" if draw.random() < 0.4]
        made.append({"text": " ".join([f"{n}", *(name * 3 for name in names)]), "label": names})
    return made


def test_the_loss_is_binary_cross_entropy_also_of_classes_a_split_never_has():
    logits, labels = torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([[1.0, 0.0]])
    wanted = F.binary_cross_entropy_with_logits(logits, torch.tensor([[1.0, 0.0, 0.0]]))
    torch.testing.assert_close(TYPE.losses(logits, labels, 1.0)[0], wanted)


def test_scores_of_a_worked_example():
    right, said = [["x"], ["x", "y"], []], [["x"], ["y"], ["x"]]
    found = TYPE.score(said, right, ("x", "y", "z"))
    # x: 1 hit, 2 said, 2 right; y: 1, 1, 1; z: never
    assert found["f1_micro"] == pytest.approx(2 * 2 / 6)
    assert found["f1_macro"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert found["accuracy"] == pytest.approx(1 / 3)


def test_names_are_found_where_none_are_said(tmp_path):
    data = typed.load(typed.folder(tmp_path / "t", rows(), task_type="multi_label_classification"))
    assert data.spec.labels == ("x", "y", "z")
    assert data.spec.metric == "f1_micro"


def test_a_whole_run_says_several_labels(tmp_path):
    metrics, predictions, said = typed.whole(typed.folder(tmp_path / "t", rows(), **CARD), tmp_path)
    right = [row["label"] == row["prediction"] for row in predictions]
    assert sum(right) / len(right) == pytest.approx(metrics["test"]["accuracy"])
    for row in (*predictions, *said):
        assert row["prediction"] == [name for name, p in row["probabilities"].items() if p > 0.5]


def test_bad_rows_are_refused_with_their_line(tmp_path):
    for label, why in (("x", "no list"), (["w"], "'w'"), ([3], "3")):
        with pytest.raises(PipelineError) as caught:
            typed.load(typed.folder(tmp_path / "t", [*rows(), {"text": "a", "label": label}], **CARD))
        assert why in str(caught.value)
        assert "line 61" in str(caught.value)
