"""What a run records of itself: its learning curve, its peak memory, and the parameters its files hold."""

import json

import pytest
import tiny
import torch
from fitting import fused, run_fit

from fusion_pipeline import store
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.training.memory import PeakMemory
from fusion_pipeline.training.trainer import PipelineTrainer


def test_the_curve_has_an_entry_an_evaluation_with_the_mean_loss_since_the_one_before(tmp_path, monkeypatch):
    losses = []
    step = PipelineTrainer.training_step

    def watched(self, *args, **kwargs):
        losses.append(float(step(self, *args, **kwargs)))
        return torch.tensor(losses[-1])

    monkeypatch.setattr(PipelineTrainer, "training_step", watched)
    task = tiny.task_data(sizes=(24, 8, 8))
    done = run_fit(fused(task), [task], tmp_path, num_train_epochs=3)
    assert [(entry["step"], entry["epoch"]) for entry in done.history] == [(3, 1.0), (6, 2.0), (9, 3.0)]
    means = [sum(losses[i : i + 3]) / 3 for i in (0, 3, 6)]
    assert [entry["training_loss"] for entry in done.history] == pytest.approx(means, rel=1e-5)
    seconds = [entry["seconds"] for entry in done.history]
    assert seconds == sorted(seconds)
    assert (
        max(entry["validation"]["accuracy"] for entry in done.history)
        == done.metrics["validation"]["accuracy"]
    )
    assert set(done.history[0]["validation"]) == set(done.metrics["validation"])


def test_the_curve_of_several_tasks_names_them(tmp_path):
    tasks = [tiny.task_data("one"), tiny.task_data("two", sizes=(24, 9, 8), seed=1)]
    entry = run_fit(fused(*tasks), tasks, tmp_path).history[0]["validation"]
    assert entry["one/accuracy"] != entry["two/accuracy"]
    assert entry["score"] == pytest.approx((entry["one/accuracy"] + entry["two/accuracy"]) / 2)


def test_peak_memory_is_of_this_training_and_not_of_what_came_before():
    held = torch.zeros(60_000_000)  # 240 MB
    del held
    mark = PeakMemory(torch.device("cpu"))
    if mark.bytes is None:
        pytest.skip("this system does not say")
    before = mark.bytes
    torch.ones(50_000_000)  # 200 MB, held and gone
    assert 190e6 < mark.bytes - before < 260e6


def test_a_run_says_how_many_parameters_its_files_hold(tmp_path):
    table = tiny.write_csv(tmp_path / "a.csv", tiny.rows(40))
    tiny.stage("stage=adapters", f"task={table}", *tiny.columns(), f"output_root={tmp_path}")
    metrics = tiny.metrics(tmp_path / "adapters" / "a")
    # An adapter's folder holds what trained: adapter and head.
    assert metrics["parameters"]["stored"] == metrics["parameters"]["trainable"]
    assert len(metrics["history"]) == 1
    assert json.dumps(metrics["history"])


def test_counting_refuses_what_is_no_safetensors_file(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"no")
    with pytest.raises(PipelineError, match="truncated"):
        store.parameter_count(tmp_path)
