"""Training: exact losses, honest selection, small checkpoints, and a stop at the first loss that is no number."""

import json
import math
from collections import Counter
from dataclasses import dataclass, fields

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import TrainerCallback

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.fusion import AdapterFusionSpec
from fusion_pipeline.heads import HeadSpec
from fusion_pipeline.training.callbacks import last_checkpoint
from fusion_pipeline.training.encoding import Encoded
from fusion_pipeline.training.fit import build_trainer, evaluate_splits, fit

NAMES = ("one", "two")


def fused(*tasks, tuned=(), dropout=0.0, **spec):
    """Stage 2 on tiny weights: a fusion over two adapters, a head for each task, and only these train."""
    model = tiny.adapted(pooling="mean", dropout=dropout > 0)
    for n, name in enumerate(NAMES):
        model.add_adapter(name, tiny.bottleneck(width=4 + n))
        tiny.shake(model.adapters[name], 0.3, seed=n)
    model.add_fusion("mix", AdapterFusionSpec(**spec), NAMES)
    tiny.shake(model.fusions["mix"], 0.3, seed=9)
    torch.manual_seed(0)
    for task in tasks:
        labels = task.spec.labels
        model.add_head(task.spec.name, HeadSpec(type=task.spec.type, labels=labels, dropout=dropout))
    model.train_only(fusion="mix", adapters=tuned, heads=[task.spec.name for task in tasks])
    model.set_active(NAMES, fusion="mix", head=tasks[0].spec.name)
    return model


def trainer_for(model, tasks, work, *callbacks, **options):
    splits = tiny.encoded(model, *tasks)
    trainer, _ = build_trainer(model, [task.spec for task in tasks], splits, tiny.fit_spec(work, **options))
    for callback in callbacks:
        trainer.add_callback(callback)
    return trainer


def run_fit(model, tasks, work, **options):
    spec = tiny.fit_spec(work, **options)
    return fit(model, [task.spec for task in tasks], tiny.encoded(model, *tasks), spec)


def state(model):
    return {name: value.clone() for name, value in model.trained_state().items()}


class At(TrainerCallback):
    """Does something to the model after one step."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_step_end(self, args, state, control, model=None, **_):
        if state.global_step == self.step:
            with torch.no_grad():
                self.action(model)


ONE_STEP = {
    "optim": "sgd",
    "learning_rate": 0.1,
    "lr_scheduler_type": "constant",
    "max_grad_norm": 0.0,
    "train_sampling_strategy": "sequential",
    "eval_strategy": "no",
    "save_strategy": "no",
    "load_best_model_at_end": False,
    "logging_steps": 1,
    "max_steps": 1,
}


# --- the loss -----------------------------------------------------------------------------------------


def by_hand(model, task):
    """One SGD step on mean loss + penalty over all rows, without the Trainer."""
    rows = task.splits["train"]
    batch = tiny.inputs(model, [row["text"] for row in rows])
    labels = torch.tensor([row["label"] for row in rows])
    loss = F.cross_entropy(model(**batch).logits, labels) + model.penalty()
    wanted = {name: p for name, p in model.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(loss, list(wanted.values()))
    steps = zip(wanted.items(), gradients, strict=True)
    return float(loss.detach()), {name: (p - 0.1 * g).detach() for (name, p), g in steps}


@pytest.mark.parametrize(("batch", "accumulation"), [(16, 1), (8, 2), (4, 4), (5, 3)])
def test_accumulated_steps_are_one_big_batch_penalty_included(tmp_path, batch, accumulation):
    # 13 rows: the last micro-batch is short, and a mean of means would be another number.
    task = tiny.task_data(sizes=(13, 4, 4))
    model = fused(task, regularization=0.3)
    loss, wanted = by_hand(model, task)
    trainer = trainer_for(
        model,
        [task],
        tmp_path,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        **ONE_STEP,
    )
    trainer.train()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(loss, rel=1e-4)
    assert loss > 2 * math.log(2), "the penalty is not in this loss"
    for name, value in state(model).items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-4, atol=1e-6, msg=name)


def test_evaluation_reports_the_plain_mean_loss_over_all_examples(tmp_path):
    task = tiny.task_data(sizes=(8, 13, 5))
    model = fused(task, regularization=0.3)
    found = {}
    for size in (3, 64):
        trainer = trainer_for(model, [task], tmp_path, per_device_eval_batch_size=size)
        found[size] = evaluate_splits(trainer, [task.spec], tiny.encoded(model, task), ("validation", "test"))
    rows = task.splits["validation"]
    model.eval()
    with torch.no_grad():
        logits = model(**tiny.inputs(model, [row["text"] for row in rows])).logits
    labels = torch.tensor([row["label"] for row in rows])
    for metrics, outputs, _ in found.values():
        assert metrics["validation"]["loss"] == pytest.approx(
            float(F.cross_entropy(logits, labels)), rel=1e-4
        )
        assert metrics["validation"]["accuracy"] == pytest.approx(
            float((logits.argmax(-1) == labels).float().mean())
        )
        assert outputs["validation"][0].ids.tolist() == list(range(13))
        np.testing.assert_allclose(outputs["validation"][0].logits, logits.numpy(), atol=1e-4)
        assert outputs["validation"][0].labels.tolist() == labels.tolist()


# --- a loss that is no number ---------------------------------------------------------------------------


def poison(model):
    next(iter(model.heads.parameters())).fill_(float("nan"))


def test_a_loss_that_is_no_number_stops_at_its_step_and_keeps_the_checkpoints(tmp_path):
    task = tiny.task_data()
    model = fused(task)
    steps = {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 1, "save_steps": 1}
    trainer = trainer_for(model, [task], tmp_path, At(2, poison), save_total_limit=None, **steps, max_steps=9)
    with pytest.raises(PipelineError, match="NaN or infinite at step 3") as caught:
        trainer.train()
    assert "learning_rate" in caught.value.hint
    good = last_checkpoint(tmp_path)
    assert good.name == "checkpoint-2"
    trainer.load_trained(tmp_path / "checkpoint-1")
    assert all(torch.isfinite(value).all() for value in state(model).values())


def test_a_learning_rate_that_explodes_is_told_at_once(tmp_path):
    task = tiny.task_data()
    with pytest.raises(PipelineError, match="NaN or infinite at step"):
        run_fit(fused(task), [task], tmp_path, learning_rate=1e30, logging_steps=1000)


# --- optimisation -------------------------------------------------------------------------------------


def groups_of(trainer):
    trainer.create_optimizer()
    names = {id(p): name for name, p in trainer.model.named_parameters()}
    return {names[id(p)]: group for group in trainer.optimizer.param_groups for p in group["params"]}


def test_weight_decay_leaves_the_fusions_value_alone(tmp_path):
    task = tiny.task_data()
    model = fused(task, tuned=["one"])
    groups = groups_of(trainer_for(model, [task], tmp_path, weight_decay=0.1))
    assert set(groups) == set(model.trained_state())
    decayed = {name for name, group in groups.items() if group["weight_decay"] == 0.1}
    assert not any(name.endswith(("value.weight", "bias")) for name in decayed)
    assert decayed == {n for n in groups if n.endswith("weight") and not n.endswith("value.weight")}


@pytest.mark.parametrize("rate", [1e-4, None])
def test_unfrozen_adapters_have_a_learning_rate_of_their_own(tmp_path, rate):
    task = tiny.task_data()
    model = fused(task, tuned=["one"])
    trainer = trainer_for(model, [task], tmp_path, adapters_learning_rate=rate, learning_rate=1e-2)
    groups = groups_of(trainer)
    adapters = {group["lr"] for name, group in groups.items() if name.startswith("adapters.")}
    others = {group["lr"] for name, group in groups.items() if not name.startswith("adapters.")}
    assert adapters == {rate or 1e-2}
    assert others == {1e-2}
    assert sum(len(g["params"]) for g in trainer.optimizer.param_groups) == len(model.trained_state())


def test_what_is_frozen_stays_bit_equal_and_what_is_unfrozen_moves(tmp_path):
    task = tiny.task_data()
    for tuned in ((), ("one",)):
        model = fused(task, tuned=tuned)
        before = tiny.snapshot(model)
        rate = 1e-3 if tuned else None
        run_fit(model, [task], tmp_path / str(bool(tuned)), num_train_epochs=2, adapters_learning_rate=rate)
        moved = {name for name, value in tiny.snapshot(model).items() if not torch.equal(value, before[name])}
        assert moved == set(model.trained_state())
        assert any(name.startswith("adapters.") for name in moved) == bool(tuned)


@pytest.mark.parametrize("options", [{}, {"bf16": True}], ids=["float32", "bf16"])
def test_gradient_checkpointing_trains_the_same_weights(tmp_path, options):
    task = tiny.task_data()
    ends = []
    for checkpointing in (False, True):
        model = fused(task, dropout=0.1)
        work = tmp_path / str(checkpointing)
        run_fit(model, [task], work, gradient_checkpointing=checkpointing, **options)
        on = [getattr(m, "gradient_checkpointing", False) for m in model.backbone.modules()]
        assert any(on) == checkpointing
        ends.append(state(model))
    assert tiny.same(*ends)


# --- evaluation on the way -----------------------------------------------------------------------------


class Recompute(TrainerCallback):
    """At each evaluation, the validation loss in the unfolded form, with gradients on."""

    def __init__(self, task):
        self.task, self.pairs = task, []

    def on_evaluate(self, args, state, control, model=None, metrics=None, **_):
        rows = self.task.splits["validation"]
        model.eval()
        with torch.enable_grad():
            logits = model(**tiny.inputs(model, [row["text"] for row in rows])).logits
        loss = F.cross_entropy(logits, torch.tensor([row["label"] for row in rows]))
        self.pairs.append((metrics["eval_loss"], float(loss.detach())))


@pytest.mark.parametrize("optim", ["adamw_torch_fused", "adamw_torch"])
def test_every_evaluation_uses_the_weights_of_that_moment(tmp_path, optim):
    # The fused optimiser, transformers' default, once left folded matrices of the first evaluation in place.
    task = tiny.task_data(sizes=(32, 8, 8))
    model = fused(task, tuned=["one"])
    seen = Recompute(task)
    trainer = trainer_for(model, [task], tmp_path, num_train_epochs=3, learning_rate=3e-2, optim=optim)
    # First of all callbacks, so that the trainer's own evaluation has run alone before.
    trainer.callback_handler.callbacks.insert(0, seen)
    trainer.train()
    assert len(seen.pairs) == 3
    assert len({loss for loss, _ in seen.pairs}) == 3
    for folded, unfolded in seen.pairs:
        assert folded == pytest.approx(unfolded, abs=1e-4)


def test_fusion_weights_are_means_over_real_tokens_of_each_task(tmp_path):
    tasks = [tiny.task_data("a", sizes=(8, 11, 4)), tiny.task_data("b", sizes=(8, 6, 4), seed=3)]
    model = fused(*tasks)
    trainer = trainer_for(model, tasks, tmp_path, per_device_eval_batch_size=4)
    splits = tiny.encoded(model, *tasks)
    _, _, weights = evaluate_splits(trainer, [task.spec for task in tasks], splits, ("validation",))
    assert set(weights["validation"]) == {"a", "b"}
    for task in tasks:
        texts = [row["text"] for row in task.splits["validation"]]
        found = model.predict(texts, fusion_weights=True)
        for site, said in weights["validation"][task.spec.name].items():
            tokens = np.concatenate([one.fusion_weights[site] for one in found])
            assert said["tokens"] == len(tokens)
            assert list(said["weights"]) == list(NAMES)
            np.testing.assert_allclose(list(said["weights"].values()), tokens.mean(0), atol=1e-5)
            entropy = -(tokens * np.log(tokens)).sum(-1).mean()
            assert said["entropy"] == pytest.approx(entropy, abs=1e-4)


# --- selection ----------------------------------------------------------------------------------------


def flip(model):
    """Turns every answer around: a good model becomes a bad one."""
    head = model.heads["task"]
    head.out.weight.copy_(head.out.weight.flip(0))
    head.out.bias.copy_(head.out.bias.flip(0))


def answers_well(model, task):
    rows = task.splits["validation"]
    said = model.predict([row["text"] for row in rows])
    return np.mean([p.label == tiny.LABELS[row["label"]] for p, row in zip(said, rows, strict=True)])


def test_the_best_weights_on_validation_are_what_remains(tmp_path):
    task = tiny.task_data(sizes=(64, 16, 8))
    model = fused(task)
    steps = {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 8, "save_steps": 8}
    trainer = trainer_for(
        model, [task], tmp_path, At(32, flip), num_train_epochs=4, learning_rate=3e-2, **steps
    )
    trainer.train()
    scores = {row["step"]: row["eval_score"] for row in trainer.state.log_history if "eval_score" in row}
    assert scores[32] < 0.5 < max(scores.values())
    assert answers_well(model, task) == pytest.approx(max(scores.values()))
    kept = sorted(path.name for path in tmp_path.glob("checkpoint-*"))
    best = max(scores, key=scores.get)
    assert kept == sorted({f"checkpoint-{best}", "checkpoint-32"})


def test_early_stopping_waits_as_long_as_it_is_told(tmp_path):
    task = tiny.task_data()
    model = fused(task)
    # A score cannot get better where nothing learns.
    found = run_fit(
        model, [task], tmp_path, num_train_epochs=9, learning_rate=1e-12, early_stopping_patience=2
    )
    assert found.epochs == 3.0


@dataclass(frozen=True, kw_only=True)
class Watched(Encoded):
    """Says which of its examples is read, and when."""

    said: list
    split: str

    def example(self, index):
        self.said.append((self.split, int(index)))
        return super().example(index)


def test_test_is_read_once_and_after_everything_else(tmp_path):
    task = tiny.task_data(sizes=(16, 6, 7))
    model, said = fused(task), []
    splits = {
        split: [
            Watched(**{f.name: getattr(part, f.name) for f in fields(part)}, said=said, split=split)
            for part in parts
        ]
        for split, parts in tiny.encoded(model, task).items()
    }
    found = fit(model, [task.spec], splits, tiny.fit_spec(tmp_path, num_train_epochs=3))
    order = [split for split, _ in said]
    assert order[-7:] == ["test"] * 7
    assert Counter(order) == {"train": 3 * 16, "validation": 4 * 6, "test": 7}
    assert {index for split, index in said if split == "test"} == set(range(7))
    assert found.examples == {"train": 16, "validation": 6, "test": 7}


# --- several tasks --------------------------------------------------------------------------------------


def test_several_tasks_have_metrics_of_their_own_and_a_common_score(tmp_path):
    tasks = [
        tiny.task_data("sorts", sizes=(19, 7, 5)),
        tiny.task_data("sizes", sizes=(10, 9, 6), regression=True, seed=2),
    ]
    model = fused(*tasks)
    found = run_fit(model, tasks, tmp_path, num_train_epochs=2)
    test = found.metrics["test"]
    assert {"sorts/accuracy", "sorts/loss", "sizes/pearson", "sizes/loss", "loss", "score"} <= set(test)
    assert test["score"] == pytest.approx((test["sorts/accuracy"] + test["sizes/pearson"]) / 2)
    assert test["loss"] == pytest.approx((test["sorts/loss"] + test["sizes/loss"]) / 2)
    for task, outputs in zip(tasks, found.outputs["test"], strict=True):
        rows = task.splits["test"]
        assert outputs.ids.tolist() == list(range(len(rows)))
        assert outputs.labels.tolist() == pytest.approx([row["label"] for row in rows])
        said = model.predict([row["text"] for row in rows], task=task.spec.name)
        if task.spec.labels is None:
            assert outputs.predictions().tolist() == pytest.approx([p.value for p in said], abs=1e-4)
        else:
            assert [tiny.LABELS[n] for n in outputs.predictions()] == [p.label for p in said]
    assert set(found.fusion_weights) == {"sorts", "sizes"}
    assert [row["step"] for row in found.weight_history] == [5, 10]


def test_a_regression_task_learns(tmp_path):
    task = tiny.task_data("sizes", sizes=(64, 16, 16), regression=True)
    targets = [row["label"] for row in task.splits["train"]]
    model = fused(task)
    model.heads["sizes"].spec = HeadSpec(
        type="regression", shift=float(np.mean(targets)), scale=float(np.std(targets)), dropout=0.0
    )
    found = run_fit(model, [task], tmp_path, num_train_epochs=12, learning_rate=2e-2)
    assert found.metrics["test"]["pearson"] > 0.8
    assert found.metrics["test"]["loss"] < 0.5


# --- checkpoints ----------------------------------------------------------------------------------------


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
