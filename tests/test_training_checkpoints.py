"""Checkpoints hold what trains, and only whole ones are trusted."""

import json

import pytest
import tiny
import torch
from fitting import fused, run_fit, state, trainer_for
from safetensors.torch import load_file

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.training.callbacks import last_checkpoint


def test_a_checkpoint_holds_what_trains_and_what_resuming_needs(tmp_path):
    task = tiny.task_data()
    model = fused(task, tuned=["one"])
    run_fit(model, [task], tmp_path, adapters_learning_rate=1e-3)
    (folder,) = tmp_path.glob("checkpoint-*")
    assert {path.name for path in folder.iterdir()} == {
        "trained.safetensors",
        "optimizer.pt",
        "scheduler.pt",
        "rng_state.pth",
        "trainer_state.json",
        "complete.json",
    }
    saved = load_file(folder / "trained.safetensors")
    assert tiny.same(saved, state(model))
    assert {name.split(".")[0] for name in saved} == {"adapters", "fusions", "heads"}
    assert not any("two" in name for name in saved)
    for pickled in ("optimizer.pt", "scheduler.pt"):
        torch.load(folder / pickled, weights_only=True)


def test_a_checkpoint_of_another_model_is_refused_by_name(tmp_path):
    task = tiny.task_data()
    trainer = trainer_for(fused(task), [task], tmp_path)
    trainer._save(str(tmp_path / "checkpoint-1"))
    other = trainer_for(fused(task, value=False), [task], tmp_path)
    with pytest.raises(PipelineError, match=r"2 names differ.*value\.weight"):
        other.load_trained(tmp_path / "checkpoint-1")


def test_half_written_checkpoints_are_passed_over_and_removed(tmp_path):
    task = tiny.task_data()
    run_fit(fused(task), [task], tmp_path, num_train_epochs=3, save_total_limit=None)
    whole = sorted(tmp_path.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    assert len(whole) == 3
    (whole[2] / "complete.json").unlink()
    weights = whole[1] / "trained.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert last_checkpoint(tmp_path) == whole[0]
    assert list(tmp_path.glob("checkpoint-*")) == [whole[0]]
    (whole[0] / "complete.json").write_text("{")
    assert last_checkpoint(tmp_path) is None


def test_the_history_of_weights_is_on_disk_as_training_goes_on(tmp_path):
    task = tiny.task_data()
    found = run_fit(fused(task), [task], tmp_path, num_train_epochs=2)
    lines = (tmp_path / "fusion_weights_history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == found.weight_history
    assert len(lines) == 2
