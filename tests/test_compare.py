"""Comparisons: a whole one, which reuses what is there."""

import json

import numpy as np
import pytest
import tiny

from fusion_pipeline.compare.spec import CompareSpec
from fusion_pipeline.errors import PipelineError


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
        "stage1_seeds=1",
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
    assert len(before) == 2 + 4
    capsys.readouterr()
    tiny.stage(*words)
    assert stamps() == before
    assert "[6/6]" not in capsys.readouterr().out
