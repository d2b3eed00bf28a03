"""Metrics through evaluate, offline, against figures worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks import scores
from fusion_pipeline.tasks.calibration import calibration_error
from fusion_pipeline.tasks.metrics import compute, metrics_for
from fusion_pipeline.tasks.spec import TaskSpec
from fusion_pipeline.tasks.types import task_type


def spec(metric: str, labels: tuple[str, ...] | None) -> TaskSpec:
    return TaskSpec(name="t", type="classification" if labels else "regression", labels=labels, metric=metric)


def test_scores_of_a_worked_example():
    # true positives 2, false positives 1, false negatives 1, true negatives 4
    references = np.array([1, 1, 1, 0, 0, 0, 0, 0])
    predictions = np.array([1, 1, 0, 1, 0, 0, 0, 0])
    found = compute(("accuracy", "f1", "f1_macro", "matthews"), predictions, references)
    assert found["accuracy"] == pytest.approx(6 / 8)
    assert found["f1"] == pytest.approx(2 / 3)
    assert found["f1_macro"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found["matthews"] == pytest.approx((2 * 4 - 1 * 1) / math.sqrt(3 * 3 * 5 * 5))


def test_f1_counts_class_one_as_positive():
    assert compute(("f1",), [1, 1, 1], [1, 1, 0])["f1"] == pytest.approx(0.8)
    assert compute(("f1",), [0, 0, 0], [1, 1, 0])["f1"] == 0.0


def test_correlations_of_a_worked_example():
    found = compute(("pearson", "spearman"), [1.0, 2.0, 4.0], [1.0, 2.0, 3.0])
    assert found["pearson"] == pytest.approx(9 / math.sqrt(84))
    assert found["spearman"] == pytest.approx(1.0)


@pytest.mark.parametrize("predictions", [[2.0, 2.0, 2.0], [0.0, 0.0, 0.0]])
def test_a_constant_prediction_correlates_zero_and_not_nan(predictions):
    assert compute(("pearson", "spearman"), predictions, [1.0, 2.0, 3.0]) == {"pearson": 0.0, "spearman": 0.0}


def test_one_class_everywhere_scores_without_warning(recwarn):
    found = compute(("accuracy", "f1", "f1_macro", "matthews"), [0, 0], [0, 0])
    assert found == {"accuracy": 1.0, "f1": 0.0, "f1_macro": 1.0, "matthews": 0.0}
    assert not [w for w in recwarn if "sklearn" in str(w.filename)]


def test_plain_floats_come_back_and_calls_do_not_mix():
    first = compute(("accuracy",), np.array([0, 1], dtype=np.int32), [0, 1])
    assert type(first["accuracy"]) is float
    assert compute(("accuracy",), np.float32([1, 1, 0]), [1, 0, 1])["accuracy"] == pytest.approx(1 / 3)


def test_every_named_metric_has_a_function_and_every_function_a_name():
    named = {name for kind in ("classification", "regression") for name in task_type(kind).metrics}
    functions = {name for name in vars(scores) if not name.startswith("_")} - {
        "annotations",
        "Any",
        "Callable",
    }
    assert named == functions


def test_the_primary_metric_comes_first_and_once():
    assert metrics_for(spec("accuracy", ("a", "b"))) == ("accuracy", "f1", "f1_macro", "matthews")
    assert metrics_for(spec("f1", ("a", "b"))) == ("f1", "accuracy", "f1_macro", "matthews")
    assert metrics_for(spec("accuracy", ("a", "b", "c"))) == ("accuracy", "f1_macro", "matthews")
    assert metrics_for(spec("matthews", ("a", "b"))) == ("matthews", "accuracy", "f1", "f1_macro")
    assert metrics_for(spec("spearman", None)) == ("spearman", "pearson")


def test_calibration_of_a_worked_example():
    # One bin, 0.9 sure and right in 3 of 4: off by 0.15.
    sure = np.tile([0.9, 0.1], (4, 1))
    assert calibration_error(sure, np.array([0, 0, 0, 1])) == pytest.approx(0.15)
    # Two bins do not make up for each other: 0.4 too low and 0.9 too high.
    both = np.array([[0.6, 0.4], [0.9, 0.1]])
    assert calibration_error(both, np.array([0, 1])) == pytest.approx((0.4 + 0.9) / 2)
    assert calibration_error(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1])) == 0
    assert np.isnan(calibration_error(np.array([[np.nan, np.nan], [0.0, 1.0]]), np.array([0, 1])))


def test_wrong_use_is_refused():
    with pytest.raises(PipelineError, match="did you mean 'accuracy'"):
        compute(("acuracy",), [1], [1])
    with pytest.raises(PipelineError, match="NaN"):
        compute(("pearson",), [1.0, float("nan")], [1.0, 2.0])
    with pytest.raises(ValueError, match="one prediction per row"):
        compute(("accuracy",), [1, 2], [1])


def test_nothing_is_written_to_the_home_folder(tmp_path, monkeypatch):
    import evaluate

    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", str(tmp_path / "cache"))
    from fusion_pipeline.tasks.score_metric import ScoreMetric

    metric = ScoreMetric(config_name="accuracy", keep_in_memory=True)
    assert metric.compute(predictions=[1.0], references=[1.0]) == {"accuracy": 1.0}
    assert not (tmp_path / "cache").exists()
