"""Every fusion inside a model: what trains, what is recomputed, what is shared, saved and asked in part."""

from copy import deepcopy

import mechanisms as m
import pytest
import tiny
import torch

from fusion_pipeline.errors import PipelineError

LABELS = torch.tensor([0, 1, 1])
NAMES = ("one", "two", "three")
# Groups of the variants name other adapters; everything else is built as it is.
ALL = [(name, values) for name, values in m.ALL if "groups" not in values]
IDS = [label for label, (_, values) in zip(m.IDS, m.ALL, strict=True) if "groups" not in values]
each = pytest.mark.parametrize(("name", "values"), ALL, ids=IDS)


def built(name, values=(), family="bert", *, adapters=()):
    model = tiny.adapted(family)
    for n, adapter in enumerate(NAMES):
        model.add_adapter(adapter, tiny.bottleneck(width=4 + n))
        tiny.shake(model.adapters[adapter], 0.3, seed=n)
    torch.manual_seed(1)
    model.add_fusion("mix", m.spec(name, **dict(values)), NAMES)
    tiny.shake(model.fusions["mix"], 0.3, seed=9)
    tiny.add_head(model)
    tiny.shake(model.heads["task"], 0.5, seed=10)
    model.set_active(NAMES, fusion="mix", head="task")
    model.train_only(fusion="mix", heads=["task"], adapters=adapters)
    return model.train()


def gradients(model, **options):
    model.zero_grad()
    torch.manual_seed(3)
    model(**tiny.inputs(model), labels=LABELS, **options).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def logits(model, **options):
    with torch.no_grad():
        return model.eval()(**tiny.inputs(model), **options)


@each
@pytest.mark.parametrize("adapters", [(), ("two",)], ids=["frozen", "unfrozen"])
def test_exactly_what_trains_gets_gradients_and_so_it_does_recomputed(name, values, adapters):
    model = built(name, values, adapters=adapters)
    plain = gradients(model)
    assert plain.keys() == set(model.trained_state())
    assert any(key.startswith("fusions") for key in plain) != (
        name == "average" or values.get("learnable") is False
    )
    model.activation_checkpointing_enable()
    assert tiny.same(plain, gradients(model))


@each
def test_a_model_is_copied_after_a_step_and_the_copy_answers_the_same(name, values):
    model = built(name, values)
    gradients(model)
    twin = deepcopy(model)
    assert torch.equal(logits(model).logits, logits(twin).logits)
    tiny.shake(twin.fusions["mix"], 2.0, seed=77)
    if list(model.fusions["mix"].parameters()) and (name, values.get("k")) != ("router", 1):
        assert not torch.equal(logits(model).logits, logits(twin).logits)


@each
def test_some_adapters_at_prediction_weigh_fully_and_change_the_answer(name, values):
    model = built(name, values).eval()
    full = logits(model, output_fusion_weights=True)
    model.set_active(["three", "one"], fusion="mix")
    some = logits(model, output_fusion_weights=True)
    for site, weights in some.fusion_weights.items():
        assert weights.shape[-1] == 2
        sums = full.fusion_weights[site].sum(-1)
        if m.fusion(name, values).sums_to_one:
            sums = torch.ones_like(sums)
            torch.testing.assert_close(weights.sum(-1), sums)
    assert not torch.equal(full.logits, some.logits)


SHARED = [
    ("weighted", {"shared": True}, 3),
    ("scalearn", {"per": "shared"}, 3),
    ("scalearn", {"per": "shared_dimension"}, 3 * 32),
    ("hierarchical", {"inner": "weighted", "inner_options": {"shared": True}, "outer": "average"}, 2),
]


@pytest.mark.parametrize("family", ["bert", "albert"])
@pytest.mark.parametrize(("name", "values", "count"), SHARED)
def test_what_layers_share_is_one_parameter_saved_once_and_trained_by_all(name, values, count, family):
    model = built(name, values, family)
    part = model.fusions["mix"]
    assert sum(p.numel() for p in part.parameters()) == count
    assert sum(value.numel() for value in part.state_dict().values()) == count
    assert all(key.startswith("common.") for key in part.state_dict())
    gradient = gradients(model)[f"fusions.@mix.{next(iter(part.state_dict()))}"]
    assert gradient.abs().sum() > 0
    before = logits(model, output_fusion_weights=True)
    with torch.no_grad():
        next(part.parameters())[0] += 3
    after = logits(model, output_fusion_weights=True)
    assert len(before.fusion_weights) > 1
    for site, weights in before.fusion_weights.items():
        assert not torch.allclose(weights, after.fusion_weights[site]), site


def test_what_layers_do_not_share_differs_between_them():
    model = built("weighted")
    weights = [w[0, 0] for w in logits(model, output_fusion_weights=True).fusion_weights.values()]
    assert not torch.allclose(weights[0], weights[1])


@pytest.mark.parametrize("family", ["bert", "albert"])
@pytest.mark.parametrize("values", [{}, {"per": "sequence"}], ids=["token", "sequence"])
def test_padding_and_fillers_count_neither_in_routing_nor_in_its_loss(values, family):
    model = built("router", values, family)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    short, long = tiny.inputs(model), tiny.inputs(model, pad_to=64)
    fillers = {key: torch.cat([value, value.flip(-1)]) for key, value in short.items()}
    ids = torch.tensor([0, 1, 2, -1, -1, -1])
    penalties = []
    for batch, extra in ((short, {}), (long, {}), (fillers, {"example_ids": ids})):
        model(**batch, **extra)
        penalties.append(model.penalty().detach())
    torch.testing.assert_close(penalties[1], penalties[0])
    torch.testing.assert_close(penalties[2], penalties[0])
    model.eval()
    torch.testing.assert_close(model(**long).logits, model(**short).logits, rtol=0, atol=1e-5)


REFUSED = [
    ("router", {"k": 4}, "fusion.k", "cannot choose 4 of 3"),
    ("router", {"k": 0}, "fusion.k", "out of range"),
    ("adapterfusion", {"heads": 5}, "fusion.heads", "do not divide the 32"),
    ("attention", {"heads": 3}, "fusion.heads", "do not divide"),
    ("attention", {"temperature": 0.0}, "fusion.temperature", "out of range"),
    ("attention", {"pool": "last"}, "fusion.pool", "mean"),
    ("gating", {"gate": "hard"}, "fusion.gate", "softmax"),
    ("gating", {"activation": "rleu"}, "fusion.activation", "no activation"),
    ("weighted", {"init": "zero"}, "fusion.init", "uniform"),
    ("scalearn", {"per": "token"}, "fusion.per", "dimension"),
    ("scalearn", {"dropout": 1.0}, "fusion.dropout", "out of range"),
    ("hierarchical", {"groups": {"g": ["one", "two"]}}, "fusion.groups", "without a group: three"),
    ("hierarchical", {"groups": {"g": ["one", "tow", "three"]}}, "fusion.groups", "'tow' is none"),
    ("hierarchical", {"groups": {"g": ["one"], "h": ["one"]}}, "fusion.groups", "in two groups"),
    ("hierarchical", {"groups": {"g": []}}, "fusion.groups", "no list"),
    ("hierarchical", {"inner": "gatting"}, "fusion.inner", "no fusion 'gatting'"),
    ("hierarchical", {"outer_options": {"heads": 0}}, "fusion.outer_options", "out of range"),
    ("hierarchical", {"inner": "router", "inner_options": {"k": 3}}, "fusion.k", "choose 3 of 2"),
]


@pytest.mark.parametrize(("name", "values", "where", "what"), REFUSED)
def test_nonsense_is_refused_with_its_config_key_before_anything_trains(name, values, where, what):
    with pytest.raises(PipelineError, match=what) as caught:
        built(name, values)
    assert caught.value.where == where
