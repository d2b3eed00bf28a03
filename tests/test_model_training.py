"""What the model loses and what of it trains, in a loop of one's own."""

import pytest
import tiny
import torch
from fused_model import LABELS, fused, logits
from torch.nn import functional as F

from fusion_pipeline.heads import HeadSpec


def test_the_penalty_is_in_the_training_loss_and_not_in_the_evaluation_loss():
    model = fused(backbone={"dropout": False}, regularization=0.5)
    model.requires_grad_(False)
    values = {"labels": LABELS, **tiny.inputs(model)}
    evaluated = model.eval()(**values)
    plain = F.cross_entropy(evaluated.logits, LABELS)
    torch.testing.assert_close(evaluated.loss, plain)
    model.training = True  # nothing but the flag: every dropout stays off
    off = [torch.eye(32) - f.value.weight for _, f in model.fusions["mix"].items()]
    wanted = plain + 0.5 * sum((o**2).sum() for o in off)
    assert len(off) == 2
    torch.testing.assert_close(model(**values).loss, wanted)
    model.set_active("one")
    one = model(**values)
    torch.testing.assert_close(one.loss, F.cross_entropy(one.logits, LABELS))


def test_fillers_count_for_nothing_and_parts_of_a_batch_add_up_to_the_whole():
    model = fused(backbone={"dropout": False})
    model.train_only(fusion="mix")
    model.training = True
    given = tiny.inputs(model)

    def gradients(*parts):
        model.zero_grad()
        total = sum(model(**part).loss for part in parts)
        total.backward()
        return total.detach(), [p.grad.clone() for p in model.fusions.parameters() if p.requires_grad]

    def part(rows, **values):
        return {**{k: v[rows] for k, v in given.items()}, "labels": LABELS[rows], **values}

    whole = gradients(part([0, 1, 2]))
    parts = gradients(part([0, 1], num_items_in_batch=3), part([2], num_items_in_batch=torch.tensor(3)))
    filled = gradients(part([0, 1, 2, 2], example_ids=torch.tensor([5, 6, 7, -1])))
    only_fillers = gradients(part([0, 1, 2]), part([0, 1], example_ids=torch.tensor([-1, -1])))
    for other in (parts, filled, only_fillers):
        torch.testing.assert_close(other[0], whole[0])
        torch.testing.assert_close(other[1], whole[1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(gradients(part([0, 1, 2, 2]))[0], whole[0])


def test_a_regression_head_answers_in_the_targets_unit_and_learns_in_standard_deviations():
    model = fused()
    model.add_head("size", HeadSpec(type="regression", shift=50.0, scale=10.0))
    targets = torch.tensor([40.0, 50.0, 70.0])
    out = model(**tiny.inputs(model), task="size", labels=targets)
    assert (out.logits - 50).abs().max() < 5
    torch.testing.assert_close(out.loss, (((out.logits[:, 0] - targets) / 10) ** 2).mean())
    found = model.predict(tiny.TEXTS, task="size")
    assert [p.value for p in found] == pytest.approx(out.logits[:, 0].tolist(), abs=1e-4)
    assert found[0].label is None


def test_frozen_adapters_drop_nothing_while_a_fusion_trains():
    model = fused(backbone={"dropout": False})
    model.train_only(fusion="mix", heads=["task"])
    model.train()
    assert model.fusions.training
    assert not any(module.training for module in model.adapters["one"].modules())
    model.heads["task"].eval()
    assert torch.equal(model(**tiny.inputs(model)).logits, model(**tiny.inputs(model)).logits)
    model.train_only(fusion="mix", adapters=["one"], heads=["task"])
    model.train()
    assert model.adapters["one"].training
    assert not model.adapters["two"].training


@pytest.mark.parametrize("dropout", [True, False])
def test_the_backbones_own_dropout_is_an_option(dropout):
    model = fused(backbone={"dropout": dropout})
    model.train_only(fusion="mix")
    model.train()
    first, second = (model(**tiny.inputs(model)).logits for _ in range(2))
    assert torch.equal(first, second) == (not dropout)
    assert torch.equal(logits(model.eval()), logits(model))


def test_only_the_head_in_use_learns():
    model = fused()
    tiny.add_head(model, "idle")
    model.train_only(fusion="mix", heads=["task", "idle"])
    model.train()
    model(**tiny.inputs(model), task="task", labels=LABELS).loss.backward()
    assert all(p.grad is not None for p in model.heads["task"].parameters())
    assert all(p.grad is None for p in model.heads["idle"].parameters())
    model.train_only(fusion="mix", heads=["task"])
    assert not any(p.requires_grad for p in model.heads["idle"].parameters())
    model.train()
    assert not model.heads["idle"].training


def test_it_learns_in_a_plain_loop_of_ones_own():
    model = tiny.adapted(pooling="mean")
    model.add_adapter("one", tiny.bottleneck())
    tiny.add_head(model)
    model.set_active("one", head="task")
    model.train_only(adapters=["one"], heads=["task"])
    texts, labels = zip(*tiny.rows(16), strict=True)
    batch = tiny.inputs(model, texts) | {"labels": torch.tensor([tiny.LABELS.index(x) for x in labels])}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    torch.manual_seed(0)
    losses = []
    for _ in range(40):
        loss = model.train()(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 < losses[0]
    right = [p.label == label for p, label in zip(model.predict(texts), labels, strict=True)]
    assert sum(right) >= 15
    assert model.training


def test_what_is_added_to_a_model_follows_its_mode():
    model = fused()
    model.add_adapter("late", tiny.bottleneck(dropout=0.5))
    tiny.add_head(model, "late", dropout=0.5)
    model.set_active("late", head="late")
    assert torch.equal(logits(model), logits(model))
