"""A run that was stopped goes on where it was and ends, on a CPU, with the very weights of one that was not."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from safetensors.torch import load_file

from fusion_pipeline import store
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.training.trainer import PipelineTrainer

HERE = Path(__file__).resolve().parent
# Every dropout there is, so that a random state that is not put back shows.
DROPOUTS = ("adapter.dropout=0.2", "head.dropout=0.2", "fusion.dropout=0.2", "backbone.dropout=true")
# Checkpoints in the middle of epochs, and steps of two micro-batches.
OFTEN = (
    "trainer.num_train_epochs=3",
    "trainer.per_device_train_batch_size=4",
    "trainer.gradient_accumulation_steps=2",
    "trainer.eval_strategy=steps",
    "trainer.save_strategy=steps",
    "trainer.eval_steps=2",
    "trainer.save_steps=2",
)
# The weights of the last step: the best ones may well be from before the stop.
LAST = "trainer.load_best_model_at_end=false"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return {n: tiny.write_csv(folder / f"{n}.csv", tiny.rows(size)) for n, size in (("a", 47), ("b", 40))}


def weights(folder):
    """Every tensor an artefact holds, by file and name."""
    return {
        f"{path.name}: {name}": tensor
        for path in sorted(Path(folder).glob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def without_time(metrics):
    history = [{k: v for k, v in entry.items() if k != "seconds"} for entry in metrics["history"]]
    kept = {key: value for key, value in metrics.items() if key not in ("seconds", "peak_memory")}
    return kept | {"history": history}


def assert_equal_artefacts(one, other):
    assert tiny.same(weights(one), weights(other))
    assert without_time(tiny.metrics(one)) == without_time(tiny.metrics(other))
    for name in ("predictions.jsonl", "fusion_weights.json"):
        if (one / name).exists():
            assert (one / name).read_text() == (other / name).read_text()


def interrupted(monkeypatch, step, *words):
    """Runs a stage with Ctrl-C in the given step."""
    train = PipelineTrainer.training_step

    def stopped(self, *args, **kwargs):
        if self.state.global_step + 1 == step:
            raise KeyboardInterrupt
        return train(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(PipelineTrainer, "training_step", stopped)
        with pytest.raises(KeyboardInterrupt):
            tiny.stage(*words)


def start(when, step, words):
    """Runs a stage in a process that ends itself at a chosen moment; returns how it ended."""
    command = [sys.executable, str(HERE / "stopped_run.py"), when, str(step), *words]
    path = os.pathsep.join([str(HERE), str(HERE.parent)])
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)


# --- stopped in this process ------------------------------------------------------------------------------


@pytest.mark.parametrize("rhythm", ["steps", "epochs", "steps, best"])
def test_an_interrupted_adapter_goes_on_to_the_same_weights(files, tmp_path, monkeypatch, rhythm):
    words = ("stage=adapters", f"task={files['a']}", *tiny.columns(), *DROPOUTS[:2])
    words += OFTEN if "steps" in rhythm else ("trainer.num_train_epochs=3",)
    words += () if "best" in rhythm else (LAST,)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    tiny.stage(*words, f"output_root={whole}")
    interrupted(monkeypatch, 8, *words, f"output_root={parts}")
    work = parts / "adapters" / ".a.work"
    last = 6 if "steps" in rhythm else 5
    assert (work / f"checkpoint-{last}").is_dir()
    assert not (parts / "adapters" / "a").exists()
    tiny.stage(*words, f"output_root={parts}", "resume=true")
    assert_equal_artefacts(parts / "adapters" / "a", whole / "adapters" / "a")
    assert [path.name for path in (parts / "adapters").iterdir()] == ["a"]


def test_an_unfinished_run_is_neither_lost_nor_mixed_up(files, tmp_path, monkeypatch):
    words = ("stage=adapters", f"task={files['a']}", *tiny.columns(), f"output_root={tmp_path}", *OFTEN)
    interrupted(monkeypatch, 4, *words)
    checkpoint = tmp_path / "adapters" / ".a.work" / "checkpoint-2" / "trained.safetensors"
    before = checkpoint.read_bytes()
    with pytest.raises(PipelineError, match="unfinished run") as caught:
        tiny.stage(*words)
    assert "resume=true" in caught.value.hint
    assert "overwrite=true" in caught.value.hint
    with pytest.raises(PipelineError, match="started with other settings"):
        tiny.stage(*words, "resume=true", "trainer.learning_rate=1e-4")
    assert checkpoint.read_bytes() == before
    tiny.stage(*words, "overwrite=true", "trainer.learning_rate=1e-4")
    assert store.verify(tmp_path / "adapters" / "a").config["trainer"]["learning_rate"] == 1e-4
    assert not checkpoint.exists()


def test_resuming_what_never_began_begins(files, tmp_path):
    words = ("stage=adapters", f"task={files['a']}", *tiny.columns(), "trainer.num_train_epochs=1")
    tiny.stage(*words, f"output_root={tmp_path}", "resume=true")
    assert tiny.metrics(tmp_path / "adapters" / "a")["steps"] == 5


# --- stopped for good ----------------------------------------------------------------------------------------


def test_a_fusion_killed_in_the_middle_of_saving_stepping_and_publishing_ends_with_the_same_weights(
    files, tmp_path
):
    adapters = tmp_path / "trained"
    for file in files.values():
        tiny.stage("stage=adapters", f"task={file}", *tiny.columns(), f"output_root={adapters}", DROPOUTS[0])
    words = (
        "stage=fusion",
        f"adapters=[{adapters}/adapters/a,{adapters}/adapters/b]",
        f"target=[{files['a']},{files['b']}]",
        "unfreeze.adapters=true",
        *tiny.columns(),
        *DROPOUTS,
        *OFTEN,
        LAST,
    )
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    tiny.stage(*words, f"output_root={whole}")
    steps = tiny.metrics(whole / "fusion" / "a+b")["steps"]
    assert steps > 12

    work, stopped = parts / "fusion" / ".a+b.work", (*words, f"output_root={parts}")
    done = start("saving", 4, stopped)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (work / "checkpoint-4" / "trained.safetensors").is_file()  # the half that was written
    assert (work / "checkpoint-2" / "complete.json").is_file()

    done = start("stepping", 10, (*stopped, "resume=true"))
    assert done.returncode == -signal.SIGTERM, done.stderr
    history = (work / "fusion_weights_history.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in history] == [2, 4, 6, 8]
    assert (work / "checkpoint-8" / "complete.json").is_file()

    done = start("publishing", 0, (*stopped, "resume=true"))
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (parts / "fusion" / "a+b").exists()
    assert any(".partial-" in path.name for path in (parts / "fusion").iterdir())

    tiny.stage(*stopped, "resume=true")
    assert_equal_artefacts(parts / "fusion" / "a+b", whole / "fusion" / "a+b")
    assert [path.name for path in (parts / "fusion").iterdir()] == ["a+b"]
