"""Selection: every evaluation is of that moment, the best weights remain, and test is read once."""

from collections import Counter
from dataclasses import dataclass, fields

import numpy as np
import pytest
import tiny
import torch
from fitting import NAMES, At, fused, run_fit, trainer_for
from torch.nn import functional as F
from transformers import TrainerCallback

from fusion_pipeline.heads import HeadSpec
from fusion_pipeline.training.encoding import Encoded
from fusion_pipeline.training.fit import evaluate_splits, fit


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
