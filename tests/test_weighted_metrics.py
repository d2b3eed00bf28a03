"""Metrics of resamples: each equals the metric of the rows that were drawn, for every type and metric there is."""

import numpy as np
import pytest

from fusion_pipeline.tasks.metrics import compute
from fusion_pipeline.tasks.task_type import RowType
from fusion_pipeline.tasks.types import task_type, type_names

LABELS = ("no", "yes", "B-a", "I-a", "O")
TAGS = ("O", "B-per", "I-per", "B-loc", "I-loc")


def answers(kind, draw, n):
    """What such a task's predictions may say of n examples, and what is right."""
    made = {
        "classification": lambda: LABELS[draw.integers(2)],
        "regression": lambda: float(draw.integers(12)) / 4,
        "multiple_choice": lambda: int(draw.integers(4)),
        "multi_label_classification": lambda: [name for name in LABELS if draw.random() < 0.4],
        "token_classification": lambda: [TAGS[i] for i in draw.integers(len(TAGS), size=7)],
        "span_qa": lambda: " ".join(draw.choice(["red", "blue", "the", "cat"], size=3)),
    }[kind]
    return [made() for _ in range(n)]


def labels_of(kind):
    if kind == "classification":
        return LABELS[:2]
    return {"multi_label_classification": LABELS, "token_classification": TAGS}.get(kind)


def score(kind, metric, said, right, labels):
    """The metric as runs report it."""
    if isinstance(kind, RowType):
        return kind.score(said, right, labels)[metric]
    if labels is None:
        return compute((metric,), said, right)[metric]
    return compute((metric,), [labels.index(a) for a in said], [labels.index(a) for a in right])[metric]


@pytest.mark.parametrize(
    ("name", "metric"), [(name, metric) for name in type_names() for metric in task_type(name).metrics]
)
def test_a_weighted_metric_is_the_metric_of_the_rows_that_were_drawn(name, metric):
    draw, n, kind, labels = np.random.default_rng(0), 23, task_type(name), labels_of(name)
    said, right = answers(name, draw, n), answers(name, draw, n)
    if name == "span_qa":
        right = [[text, "a cat"] for text in right]
    weights = np.concatenate([np.ones((1, n)), draw.multinomial(n, np.full(n, 1 / n), size=4)])
    rows = [np.repeat(np.arange(n), w.astype(int)) for w in weights]
    wanted = [score(kind, metric, [said[i] for i in r], [right[i] for i in r], labels) for r in rows]
    found = kind.weighted(metric, said, right, labels)(weights)
    assert found == pytest.approx(wanted, abs=1e-9)
    assert len(set(np.round(found, 9))) > 1
    if isinstance(kind, RowType):
        # What a type of one's own has without knowing any sums.
        assert RowType.weighted(kind, metric, said, right, labels)(weights) == pytest.approx(wanted)


@pytest.mark.parametrize("metric", ["pearson", "spearman", "matthews"])
def test_constant_answers_correlate_with_nothing(metric):
    constant = metric == "matthews"
    name, said = ("classification", ["yes"] * 6) if constant else ("regression", [0.1] * 6)
    right = ["yes", "no"] * 3 if constant else [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    labels = LABELS[:2] if constant else None
    assert task_type(name).weighted(metric, said, right, labels)(np.ones((2, 6))) == pytest.approx([0, 0])


def test_macro_f1_is_over_the_classes_that_occur():
    weighted = task_type("classification").weighted("f1_macro", ["a", "b"], ["a", "b"], ("a", "b", "c"))
    assert weighted(np.array([[1, 1], [2, 0]])) == pytest.approx([1, 1])


@pytest.mark.parametrize(
    ("name", "said", "right", "points"),
    [
        ("classification", "yes", "yes", 1),
        ("classification", "no", "yes", 0),
        ("multiple_choice", 2, 1, 0),
        ("regression", 2.5, 3.0, 0.5),
        ("multi_label_classification", ["a"], ["a", "b"], 2 / 3),
        ("multi_label_classification", [], [], 1),
        ("token_classification", ["O", "O"], ["O", "B-x"], 0.5),
        ("span_qa", "the red cat", ["red cat", "a dog"], 1),
        ("span_qa", "cat", ["red cat"], 2 / 3),
    ],
)
def test_every_type_says_how_well_one_example_is_answered(name, said, right, points):
    assert task_type(name).points(said, right) == pytest.approx(points)


def test_only_types_with_one_right_answer_call_themselves_exact():
    assert [name for name in type_names() if task_type(name).exact] == ["classification", "multiple_choice"]
