"""`from_runs=`: a report of whatever finished runs lie below a folder, and what is said of those that do not fit."""

import json
import re
from dataclasses import replace

import pytest
import tiny

from fusion_pipeline.compare.finished import find_outcomes
from fusion_pipeline.compare.latency import load_outcome, measure_latencies
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.store import Manifest

SMALL = ("trainer.max_steps=3", "data.max_train=64", "data.max_validation=40", "data.max_test=60")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds of the target's own adapter and of a fusion, one more adapter with another learning rate."""
    root = tmp_path_factory.mktemp("finished")

    def stage(*words):
        tiny.stage(f"output_root={root}", *SMALL, *words)

    stage("stage=adapters", "task=[sentiment,nli]")
    for seed in (0, 1):
        stage("stage=adapters", "task=review_check", f"seed={seed}", f"name=own{seed}")
        stage(
            *("stage=fusion", "adapters=[sentiment,nli]", "target=review_check"),
            *(f"seed={seed}", f"name=fused{seed}"),
        )
    stage("stage=adapters", "task=review_check", "name=trial", "trainer.learning_rate=1e-2")
    return root


def test_runs_are_grouped_by_target_contender_and_seed(runs):
    outcomes, notes = find_outcomes([runs])
    review = [o for o in outcomes if o.task.name == "review_check"]
    assert [(o.contender, o.seed, o.stage1_seed) for o in review] == [
        ("single", 0, None),
        ("single", 1, None),
        ("adapterfusion", 0, 0),
        ("adapterfusion", 1, 0),
    ]
    assert {o.learning_rate for o in review} == {1e-3}
    # The trial has fewer seeds than the others of its contender, and is named.
    assert any("1 run of single on review_check with trainer.learning_rate=0.01" in note for note in notes)


def test_the_command_reports_without_training(runs, tmp_path, capsys):
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()}
    tiny.stage("stage=compare", f"from_runs={runs}", f"output_root={tmp_path}", "name=all")
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()} == before
    folder = tmp_path / "compare" / "all"
    found = json.loads((folder / "results.json").read_text())
    rows = {row["contender"]: row for row in found["rows"]}
    assert set(rows) == {"single", "adapterfusion"}
    assert rows["adapterfusion"]["seeds"] == 2
    assert rows["single"]["latency"] == 1.0
    assert rows["adapterfusion"]["latency"] > 0
    assert rows["adapterfusion"]["peak_memory"] is None or rows["adapterfusion"]["peak_memory"] > 1e6
    assert rows["adapterfusion"]["stored"] > rows["adapterfusion"]["trainable"] * 0.9
    manifest = Manifest.read(runs / "fusion" / "fused0")
    assert manifest.backbone["fingerprint"][:12] in (folder / "report.html").read_text()
    said = capsys.readouterr().out
    assert "review_check: " in said
    assert "single, 2 runs" in said
    assert "left out: nli, sentiment" in re.sub(r"\s+", " ", (folder / "report.md").read_text())


def test_latency_can_be_left_out(runs, tmp_path):
    tiny.stage(
        "stage=compare", f"from_runs={runs}", f"output_root={tmp_path}", "name=all", "compare.latency=false"
    )
    rows = json.loads((tmp_path / "compare" / "all" / "results.json").read_text())["rows"]
    assert {row["latency"] for row in rows} == {None}
    assert not (tmp_path / "compare" / "all" / "latency.svg").exists()


def test_latency_of_a_model_against_itself_is_one(runs):
    outcomes, _ = find_outcomes([runs / "adapters"])
    single = next(o for o in outcomes if o.contender == "single" and o.task.name == "review_check")
    found, notes = measure_latencies([single, replace(single, contender="again")], load_outcome)
    assert found["again"] == pytest.approx(1, abs=0.6)
    assert notes == []


def test_what_cannot_be_loaded_is_said_and_not_measured(runs, tmp_path):
    outcomes, _ = find_outcomes([runs])
    review = [o for o in outcomes if o.task.name == "review_check"]
    lost = tmp_path / "fusion" / "lost"
    lost.mkdir(parents=True)
    for path in review[-1].folder.iterdir():
        (lost / path.name).write_bytes(path.read_bytes())
    found, notes = measure_latencies([review[0], replace(review[-1], folder=lost)], load_outcome)
    assert set(found) == {"single"}
    assert "was not measured" in notes[0]


@pytest.mark.parametrize(("words", "said"), [("nowhere", "no such folder"), ("", "no two contenders")])
def test_folders_without_a_comparison_are_refused(words, said, tmp_path):
    folder = tmp_path / words if words else tmp_path
    with pytest.raises(PipelineError, match=said):
        tiny.stage("stage=compare", f"from_runs={folder}", f"output_root={tmp_path / 'out'}")
    assert not (tmp_path / "out").exists()


def test_a_dry_run_writes_nothing(runs, tmp_path):
    tiny.stage("stage=compare", f"from_runs={runs}", f"output_root={tmp_path / 'out'}", "dry_run=true")
    assert not (tmp_path / "out").exists()
