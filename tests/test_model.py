"""The model in a person's own code: what is active, what trains, what it predicts, what it refuses."""

import copy

import numpy as np
import pytest
import tiny
import torch
from torch.nn import functional as F

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.fusion import AdapterFusionSpec
from fusion_pipeline.heads import HeadSpec

NAMES = ("one", "two", "three")
LABELS = torch.tensor([0, 1, 1])


def fused(names=NAMES, *, backbone=None, **spec):
    """A model with a fusion over adapters of different widths, and a head."""
    model = tiny.adapted(**(backbone or {}))
    for n, name in enumerate(names):
        model.add_adapter(name, tiny.bottleneck(width=4 + n, dropout=0.3))
        tiny.shake(model.adapters[name], 0.3, seed=n)
    model.add_fusion("mix", AdapterFusionSpec(**spec), names)
    tiny.shake(model.fusions["mix"], 0.3, seed=9)
    tiny.add_head(model)
    # Heads start near zero; these say something.
    tiny.shake(model.heads["task"], 0.5, seed=10)
    model.set_active(names, fusion="mix", head="task")
    return model.eval()


def logits(model, **options):
    with torch.no_grad():
        return model(**tiny.inputs(model), **options).logits


# --- padding ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["first", "mean", "last"])
@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "modernbert"])
def test_padding_changes_neither_logits_nor_weights(family, pooling):
    model = fused(backbone={"family": family, "pooling": pooling})
    with torch.no_grad():
        short = model(**tiny.inputs(model), output_fusion_weights=True)
        padded = model(**tiny.inputs(model, pad_to=90), output_fusion_weights=True)
        alone = model(**tiny.inputs(model, tiny.TEXTS[:1])).logits
    torch.testing.assert_close(padded.logits, short.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(alone, short.logits[:1], rtol=0, atol=1e-5)
    assert not torch.allclose(short.logits[0], short.logits[1])
    mask = tiny.inputs(model)["attention_mask"].bool()
    for site, weights in short.fusion_weights.items():
        width = weights.shape[1]
        torch.testing.assert_close(padded.fusion_weights[site][:, :width][mask], weights[mask])


# --- what is active -----------------------------------------------------------------------------------


def test_a_subset_of_the_adapters_can_be_asked_and_all_are_back_afterwards():
    model = fused()
    everything = logits(model)
    model.set_active(["one", "three"], fusion="mix")
    of_two = logits(model, output_fusion_weights=True)
    model.set_active(["two"], fusion="mix")
    of_one = logits(model)
    assert not torch.allclose(everything, of_two)
    assert not torch.allclose(of_one, of_two)
    model.set_active(NAMES, fusion="mix")
    assert torch.equal(logits(model), everything)


def test_predicting_with_a_subset_leaves_the_model_as_it_was():
    model = fused()
    before = logits(model)
    asked = model.predict(tiny.TEXTS, adapters=["three", "one"], fusion_weights=True)
    assert asked[0].adapters == ("three", "one")
    for weights in asked[0].fusion_weights.values():
        np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    alone = model.predict(tiny.TEXTS, adapters=["two"], fusion_weights=True)
    assert all((w == 1).all() for w in alone[0].fusion_weights.values())
    assert model.active_adapters == NAMES
    assert torch.equal(logits(model), before)
    with pytest.raises(PipelineError, match="no adapter 'tow'"):
        model.predict(tiny.TEXTS, adapters=["tow"])
    assert model.active_adapters == NAMES
    assert torch.equal(logits(model), before)


def test_what_cannot_be_active_is_refused():
    model = fused()
    before = logits(model)
    for wrong, message in (
        ({"adapters": ["one", "two"]}, "2 adapters need a fusion"),
        ({"adapters": ["one", "one"], "fusion": "mix"}, "named twice"),
        ({"adapters": [], "fusion": "mix"}, "at least one adapter"),
        ({"adapters": "once"}, "no adapter 'once'"),
        ({"adapters": ["one"], "fusion": "mxi"}, "no fusion 'mxi'"),
        ({"adapters": "one", "head": "taks"}, "no head 'taks'"),
    ):
        with pytest.raises(PipelineError, match=message):
            model.set_active(**wrong)
        assert torch.equal(logits(model), before), "a refused choice changed the model"


def test_a_name_can_be_given_once_and_be_any_word():
    model = tiny.adapted()
    for name in ("type", "forward", "weight", "a.b", "training"):
        model.add_adapter(name, tiny.bottleneck())
        tiny.add_head(model, name)
    assert model.adapters.names() == ["type", "forward", "weight", "a.b", "training"]
    model.set_active("a.b", head="forward")
    assert logits(model).shape == (3, 2)
    with pytest.raises(PipelineError, match="already adapter 'type'"):
        model.add_adapter("type", tiny.bottleneck())


def test_adapters_of_different_placements_cannot_be_fused():
    model = tiny.adapted()
    model.add_adapter("one", tiny.bottleneck())
    model.add_adapter("two", tiny.bottleneck(placement="houlsby"))
    with pytest.raises(PipelineError, match="do not share their sites") as caught:
        model.add_fusion("mix", AdapterFusionSpec(), ["one", "two"])
    assert "attention_inner" in str(caught.value)


def test_adapters_that_skip_other_layers_are_fused_where_they_are():
    model = tiny.adapted()
    model.add_adapter("low", tiny.bottleneck(skip_layers=(1,)))
    model.add_adapter("high", tiny.bottleneck(skip_layers=(0,)))
    model.add_fusion("mix", AdapterFusionSpec(), ["low", "high"])
    tiny.add_head(model)
    model.set_active(["low", "high"], fusion="mix", head="task")
    model.eval()
    with torch.no_grad():
        weights = model(**tiny.inputs(model), output_fusion_weights=True).fusion_weights
    assert {site: value.shape[-1] for site, value in weights.items()} == {"ffn.0": 1, "ffn.1": 1}


def test_a_copy_runs_its_own_weights():
    model = fused()
    twin = copy.deepcopy(model)
    before = logits(model)
    assert torch.equal(logits(twin), before)
    tiny.shake(twin.adapters, 0.5, seed=20)
    assert torch.equal(logits(model), before)
    changed = logits(twin)
    assert not torch.allclose(changed, before)
    tiny.shake(model.adapters, 0.5, seed=21)
    assert torch.equal(logits(twin), changed)
    assert twin.active_adapters == model.active_adapters == NAMES


# --- number formats -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_an_active_model_can_be_moved_to_another_dtype(dtype):
    model = fused()
    wanted = logits(model)
    found = logits(model.to(dtype))
    assert found.dtype == torch.float32  # logits and losses are never half precision
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.25 if dtype == torch.bfloat16 else 1e-5)
    model.float()


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_adapters_in_float32_work_on_a_backbone_of_another_dtype(dtype):
    wanted = logits(fused())
    model = fused(backbone={"dtype": dtype})
    assert next(model.backbone.parameters()).dtype == getattr(torch, dtype)
    assert next(model.adapters.parameters()).dtype == torch.float32
    torch.testing.assert_close(logits(model), wanted, rtol=0, atol=0.25 if dtype == "bfloat16" else 1e-5)
    model.train_only(fusion="mix", heads=["task"])
    model.train()
    model(**tiny.inputs(model), labels=LABELS).loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_autocast_gives_nearly_the_same():
    model = fused()
    wanted = logits(model)
    with torch.autocast("cpu", torch.bfloat16):
        folded = logits(model)
        with_gradients = model(**tiny.inputs(model)).logits
    for found in (folded, with_gradients):
        assert not torch.equal(found, wanted)
        torch.testing.assert_close(found.float(), wanted, rtol=0, atol=0.25)


# --- loss ---------------------------------------------------------------------------------------------


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


# --- what trains --------------------------------------------------------------------------------------


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


# --- predictions --------------------------------------------------------------------------------------


def test_predictions_have_labels_probabilities_and_weights_for_every_token():
    model = fused()
    texts = ["x" * (7 * n % 23 + 1) for n in range(20)]
    found = model.predict(texts, fusion_weights=True, batch_size=3)
    wanted = torch.softmax(model(**tiny.inputs(model, texts)).logits, -1)
    for text, one, probabilities in zip(texts, found, wanted, strict=True):
        assert list(one.probabilities) == list(tiny.LABELS)
        assert sum(one.probabilities.values()) == pytest.approx(1)
        assert list(one.probabilities.values()) == pytest.approx(probabilities.tolist(), abs=1e-5)
        assert one.label == max(one.probabilities, key=one.probabilities.get)
        assert one.tokens == ("[CLS]", *text, "[SEP]")
        assert one.adapters == NAMES
        assert set(one.fusion_weights) == {"ffn.0", "ffn.1"}
        for weights in one.fusion_weights.values():
            assert weights.shape == (len(one.tokens), 3)
            np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    assert len({one.label for one in found}) > 1 or len({p.probabilities["no"] for p in found}) > 1


def test_predicting_changes_no_mode_and_no_gradient():
    model = fused()
    model.train_only(fusion="mix", heads=["task"])
    model.train()
    once, again = model.predict(["a text"]), model.predict(["a text"])
    assert once == again
    assert model.training
    assert model.backbone.training
    assert all(p.grad is None for p in model.parameters())


def test_pairs_are_read_as_pairs():
    model = fused()
    pair, other, joined = model.predict(
        [("one", "two"), ("two", "one"), ("one two", "")], fusion_weights=True
    )
    assert pair.tokens == ("[CLS]", *"one", "[SEP]", *"two", "[SEP]")
    assert pair.probabilities != other.probabilities != joined.probabilities


def test_nothing_to_predict_is_no_error_and_nonsense_is_one():
    model = fused()
    assert model.predict([]) == []
    for wrong in ("one text", [("a", "b"), "c"], [None], [("a", "b", "c")]):
        with pytest.raises(PipelineError):
            model.predict(wrong)
    headless = tiny.adapted()
    with pytest.raises(PipelineError, match="no head is active"):
        headless.predict(["a text"])


def test_a_prediction_in_inference_mode_gives_the_same():
    with torch.inference_mode():
        inside = fused().predict(tiny.TEXTS)
    assert inside == fused().predict(tiny.TEXTS)


@pytest.mark.minilm
def test_the_real_backbone_carries_a_fusion():
    from fusion_pipeline import AdaptedModel
    from fusion_pipeline.registry import build

    model = AdaptedModel.from_backbone(build("backbone", "minilm"))
    assert model.info.pooling == "mean"
    hidden = model.config.hidden_size
    assert hidden == 384
    for name in NAMES:
        model.add_adapter(name, tiny.bottleneck(init="kaiming", width=8))
    model.add_fusion("mix", AdapterFusionSpec(), NAMES)
    tiny.add_head(model)
    tokens = model.info.tokenizer(["a cat", "a rocket"], return_tensors="pt")
    model.eval()
    with torch.no_grad():
        bare = model.backbone(**tokens).last_hidden_state
        model.set_active(NAMES, fusion="mix", head="task")
        zero = model.backbone(**tokens).last_hidden_state
        tiny.shake(model.adapters, 0.1)
        moved = model.backbone(**tokens).last_hidden_state
    assert torch.equal(zero, bare)
    assert not torch.allclose(moved, bare)
