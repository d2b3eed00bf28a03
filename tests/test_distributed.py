"""Two processes train what one would: the same folder, the same examples, the same metrics."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from safetensors.torch import load_file

from fusion_pipeline import store

HERE = Path(__file__).resolve().parent
# Odd sizes, so that batches cannot be shared evenly; no dropout, so that nothing depends on who draws; plain
# gradient steps, since Adam would hide a loss that is twice too large.
SIZES = {"a": 47, "b": 38}
EXACT = (
    "head.dropout=0",
    "backbone.dropout=false",
    "fusion.regularization=0.05",
    "trainer.num_train_epochs=2",
    "trainer.gradient_accumulation_steps=2",
    "trainer.per_device_eval_batch_size=5",
    "trainer.optim=sgd",
    "trainer.max_grad_norm=0",
    "trainer.learning_rate=0.5",
    "trainer.save_total_limit=9",
    # The last weights, not the best of a few examples, which may be nearly the first.
    "trainer.load_best_model_at_end=false",
)


def torchrun(*command):
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    path = os.pathsep.join([str(HERE), str(HERE.parent)])
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run([*launch, *command], env=env, capture_output=True, text=True, timeout=180)


def both_ways(root):
    """{"alone", "two"}: the folders of one fusion, trained by one process and by two that were stopped once."""
    files = [tiny.write_csv(root / f"{n}.csv", tiny.rows(size, seed=3)) for n, size in SIZES.items()]
    for file in files:
        tiny.stage("stage=adapters", f"task={file}", *tiny.columns(), f"output_root={root}")
    words = (
        "stage=fusion",
        f"adapters=[{root}/adapters/a,{root}/adapters/b]",
        f"target=[{files[0]},{files[1]}]",
        *tiny.columns(),
        *EXACT,
    )
    tiny.stage(*words, f"output_root={root / 'alone'}", "trainer.per_device_train_batch_size=4")
    shared = (*tiny.QUICK, *words, f"output_root={root / 'two'}", "trainer.per_device_train_batch_size=2")
    stopped = torchrun(str(HERE / "stopped_run.py"), "stepping", "11", *shared)
    assert stopped.returncode != 0
    checkpoints = root / "two" / "fusion" / ".a+b.work"
    marks = {
        path.parent.name: json.loads(path.read_text())["files"]
        for path in checkpoints.glob("checkpoint-*/complete.json")
    }
    done = torchrun("-m", "fusion_pipeline", *shared, "resume=true")
    assert done.returncode == 0, done.stderr
    return {
        "alone": root / "alone" / "fusion" / "a+b",
        "two": root / "two" / "fusion" / "a+b",
        "marks": marks,
        "output": done.stdout,
    }


def two_processes_are_two(runs):
    assert tiny.metrics(runs["two"])["world_size"] == 2
    assert tiny.metrics(runs["alone"])["world_size"] == 1


def two_processes_leave_the_same_folder_once(runs):
    alone, two = ({p.relative_to(runs[n]) for p in runs[n].rglob("*")} for n in ("alone", "two"))
    assert alone == two
    assert [path.name for path in runs["two"].parent.iterdir()] == ["a+b"]
    manifests = [store.verify(runs[name], kind="fusion") for name in ("alone", "two")]
    assert manifests[0].data == manifests[1].data
    assert manifests[0].parents == manifests[1].parents
    assert runs["output"].count("saved:") == 1, "one process speaks"


def two_processes_see_every_example_once(runs):
    alone, two = (tiny.metrics(runs[name]) for name in ("alone", "two"))
    assert two["examples"] == alone["examples"]
    assert two["steps"] == alone["steps"]
    assert sum(two["examples"].values()) == sum(SIZES.values())
    said = [
        [json.loads(line) for line in (runs[n] / "predictions.jsonl").read_text().splitlines()]
        for n in ("alone", "two")
    ]
    assert len(said[1]) == two["examples"]["test"]
    for one, other in zip(*said, strict=True):
        assert (one["task"], one["id"], one["text"]) == (other["task"], other["id"], other["text"])
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-4)


def two_processes_reach_the_same_weights_and_metrics(runs):
    alone, two = (tiny.metrics(runs[name]) for name in ("alone", "two"))
    for split in ("validation", "test"):
        assert two[split] == pytest.approx(alone[split], abs=1e-4)
    for name in ("fusion.safetensors", "heads.safetensors"):
        ours, theirs = load_file(runs["alone"] / name), load_file(runs["two"] / name)
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            assert (value - theirs[key]).abs().max() < 1e-5, key
    bias = load_file(runs["alone"] / "heads.safetensors")["a/out.bias"]
    assert bias.abs().max() > 1e-3, "nothing has moved"


def fusion_weights_are_summed_over_both_processes(runs):
    alone, two = (json.loads((runs[name] / "fusion_weights.json").read_text()) for name in ("alone", "two"))
    for task, sites in alone["validation"].items():
        for site, said in sites.items():
            other = two["validation"][task][site]
            assert other["tokens"] == said["tokens"]
            assert other["weights"] == pytest.approx(said["weights"], abs=1e-4)
            assert other["entropy"] == pytest.approx(said["entropy"], abs=1e-4)
    assert [row["step"] for row in two["history"]] == [row["step"] for row in alone["history"]]


def a_checkpoint_of_two_processes_is_marked_when_both_have_written(runs):
    assert runs["marks"]
    for files in runs["marks"].values():
        assert {"rng_state_0.pth", "rng_state_1.pth", "trained.safetensors"} <= set(files)


def test_two_processes_train_what_one_would_and_go_on_after_a_stop(tmp_path):
    # One test, since training this is slow and parallel test workers would each do it again.
    runs = both_ways(tmp_path)
    two_processes_are_two(runs)
    two_processes_leave_the_same_folder_once(runs)
    two_processes_see_every_example_once(runs)
    two_processes_reach_the_same_weights_and_metrics(runs)
    fusion_weights_are_summed_over_both_processes(runs)
    a_checkpoint_of_two_processes_is_marked_when_both_have_written(runs)
