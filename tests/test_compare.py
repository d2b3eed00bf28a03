"""Comparisons: the statistics on known answers, and a whole comparison that reuses what is there."""

import json

import numpy as np
import pytest
import tiny

from fusion_pipeline.compare.spec import CompareSpec
from fusion_pipeline.compare.statistics import mcnemar, mean_sd, paired
from fusion_pipeline.errors import PipelineError


def test_mcnemar_counts_what_only_one_got_right_and_gives_the_exact_binomial_p():
    a = [True] * 10 + [False] * 8 + [True] * 5
    b = [True] * 10 + [True] * 8 + [False] * 5
    only_a, only_b, p = mcnemar(a, b)
    assert (only_a, only_b) == (5, 8)
    # P(|X - 6.5| >= 1.5) for X ~ B(13, 1/2)
    assert p == pytest.approx(0.5810546875)
    assert mcnemar([True, False], [True, False]) == (0, 0, 1.0)


def test_mcnemar_calls_equal_contenders_different_about_five_times_in_a_hundred():
    rng = np.random.default_rng(0)
    found = [mcnemar(rng.random(400) < 0.7, rng.random(400) < 0.7)[2] < 0.05 for _ in range(600)]
    assert 0.015 < np.mean(found) < 0.065


def test_paired_differences_are_by_seed():
    difference = paired([0.70, 0.60, 0.50], [0.72, 0.62, 0.53])
    assert difference.mean == pytest.approx(0.0233333, abs=1e-6)
    assert difference.low < difference.mean < difference.high
    assert difference.p < 0.05
    assert paired([0.5], [0.6]) is None
    assert paired([0.5, 0.6], [0.5, 0.6]).p == 1.0
    assert mean_sd([0.5]) == (0.5, 0.0)


@pytest.mark.parametrize(
    "values",
    [
        {"seeds": ()},
        {"seeds": (1, 1)},
        {"stage1_seeds": (-1,)},
        {"train_sizes": (0,)},
        {"parallel": 0},
        {"learning_rates": {"single": [0.1, 0.1]}},
    ],
)
def test_a_comparison_that_makes_no_sense_is_refused(values):
    with pytest.raises(PipelineError):
        CompareSpec(**values)


def test_a_comparison_trains_what_is_missing_reports_it_and_uses_it_again(tmp_path, capsys):
    words = (
        "stage=compare",
        "adapters=[sentiment,nli]",
        "target=review_check",
        "seeds=2",
        "trainer.max_steps=2",
        f"output_root={tmp_path}",
    )
    tiny.stage(*words)
    folder = tmp_path / "compare" / "review_check"
    rows = json.loads((folder / "results.json").read_text())["rows"]
    assert [(row["contender"], row["seeds"]) for row in rows] == [("single", 2), ("adapterfusion", 2)]
    scores = [tiny.metrics(tmp_path / "fusion" / f"review_check-adapterfusion-seed{s}") for s in (0, 1)]
    assert rows[1]["test"][0] == pytest.approx(np.mean([m["test"]["accuracy"] for m in scores]))
    assert "| review_check | adapterfusion |" in (folder / "report.md").read_text()
    assert (folder / "fusion_weights.png").stat().st_size > 1000

    def stamps():
        return {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*/manifest.json")}

    before = stamps()
    assert len(before) == 4 + 4
    capsys.readouterr()
    tiny.stage(*words)
    assert stamps() == before
    assert "[8/8]" not in capsys.readouterr().out
