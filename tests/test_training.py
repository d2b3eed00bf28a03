"""Training: exact losses, what decays and at which rate, and a stop at the first loss that is no number."""

import math

import numpy as np
import pytest
import tiny
import torch
from fitting import At, fused, run_fit, state, trainer_for
from torch.nn import functional as F

from fusion_pipeline import registry
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.training.callbacks import last_checkpoint
from fusion_pipeline.training.fit import evaluate_splits

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


@pytest.mark.parametrize("kind", ["attention", "hierarchical"])
def test_parts_of_a_fusion_that_say_so_learn_more_slowly(tmp_path, kind):
    task, values = tiny.task_data(), {} if kind == "attention" else {"inner": "attention", "outer": "average"}
    model = fused(task)
    model.add_fusion("own", registry.build("fusion", kind, **values), model.active_adapters)
    model.set_active(model.active_adapters, fusion="own")
    model.train_only(fusion="own", heads=[task.spec.name])
    groups = groups_of(trainer_for(model, [task], tmp_path, learning_rate=1e-2, weight_decay=0.1))
    slow = {n for n in groups if n.startswith("fusions.@own") and (".value." in n or ".out." in n)}
    assert slow
    assert {groups[name]["lr"] for name in slow} == {1e-3}
    assert {groups[name]["lr"] for name in groups.keys() - slow} == {1e-2}
    assert {groups[name]["weight_decay"] for name in slow} == {0.0}


@pytest.mark.parametrize(
    ("kind", "values", "part"),
    [
        ("scalearn", {"scale_rate": 7.0}, "omega"),
        ("scalearn", {"scale_rate": 7.0, "per": "shared"}, "omega"),
        ("weighted", {"weight_rate": 7.0}, "logits"),
        ("weighted", {"weight_rate": 7.0, "shared": True}, "logits"),
    ],
)
def test_numbers_of_a_fusion_learn_faster_than_its_head(tmp_path, kind, values, part):
    task = tiny.task_data()
    model = fused(task)
    model.add_fusion("own", registry.build("fusion", kind, **values), model.active_adapters)
    model.set_active(model.active_adapters, fusion="own")
    model.train_only(fusion="own", heads=[task.spec.name])
    groups = groups_of(trainer_for(model, [task], tmp_path, learning_rate=1e-2))
    fast = {name for name in groups if f".{part}." in name}
    assert fast
    assert {groups[name]["lr"] for name in fast} == {7e-2}
    assert {groups[name]["lr"] for name in groups.keys() - fast} == {1e-2}


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
