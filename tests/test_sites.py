"""Every site table, on a random small model of each of its families: deltas go exactly where they should."""

from contextlib import contextmanager

import pytest
import tiny
import torch
from placed import FAMILIES, PLACED, with_adapter
from torch.nn import functional as F

from fusion_pipeline.sites import load_table

# (attention's h, its norm, feed-forward's h, its norm), by module path in a layer
BERT_LIKE = ("attention.output.dense", "attention.output.LayerNorm", "output.dense", "output.LayerNorm")
POST_LN = {
    "bert": BERT_LIKE,
    "roberta": BERT_LIKE,
    "xlm-roberta": BERT_LIKE,
    "electra": BERT_LIKE,
    "deberta-v2": BERT_LIKE,
    "mpnet": ("attention.attn", "attention.LayerNorm", "output.dense", "output.LayerNorm"),
    "distilbert": ("attention", "sa_layer_norm", "ffn", "output_layer_norm"),
}
# (attention, feed-forward, the norm before it)
PRE_LN = {
    "modernbert": ("attn", "mlp", "mlp_norm"),
    "gpt2": ("attn", "mlp", "ln_2"),
    "llama": ("self_attn", "mlp", "post_attention_layernorm"),
    "vit": ("attention", "mlp", "layernorm_after"),
    "deit": ("attention", "mlp", "layernorm_after"),
}
# ALBERT's shared layer and BEiT's layer scale have no formula here: recorded outputs stand for them.


def states(model, **options):
    with torch.no_grad():
        return model(**tiny.inputs(model), output_hidden_states=True, **options).hidden_states


def bare_states(model):
    with torch.no_grad():
        return model.backbone(**tiny.inputs(model), output_hidden_states=True).hidden_states


def hook_count(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.backbone.modules())


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_every_table_is_about_a_family_that_these_tests_build():
    assert {*POST_LN, *PRE_LN, "albert", "beit"} == set(FAMILIES)
    for family in FAMILIES:
        assert tiny.adapted(family).config.model_type == family
        assert {"pfeiffer", "houlsby", "parallel"} <= set(load_table(family).placements)


@pytest.mark.parametrize(("family", "placement"), PLACED)
def test_a_zero_delta_is_the_bare_backbone_bit_by_bit(family, placement):
    model = with_adapter(family, placement, init="kaiming")
    bare = bare_states(tiny.adapted(family))
    assert equal(states(model), bare)


@pytest.mark.parametrize(("family", "placement"), PLACED)
def test_a_delta_matters_at_every_layer_and_only_while_it_is_active(family, placement):
    model, plain = with_adapter(family, placement), tiny.adapted(family)
    bare, adapted = bare_states(plain), states(model)
    assert torch.equal(adapted[0], bare[0])
    assert not any(torch.allclose(a, b) for a, b in zip(adapted[1:], bare[1:], strict=True))
    model.set_active(None)
    assert equal(states(model), bare)
    model.set_active("one")
    assert equal(states(model), adapted)
    model.set_active("one")
    assert equal(states(model), adapted)  # attached once, however often it is asked for
    hooks = hook_count(model)
    model.set_active(None)
    assert hook_count(model) < hooks
    assert hook_count(model) == hook_count(plain)


@pytest.mark.parametrize(("family", "placement"), PLACED)
def test_skipped_layers_have_no_adapter(family, placement):
    model = with_adapter(family, placement, skip_layers=(0,))
    bare, adapted = bare_states(tiny.adapted(family)), states(model)
    assert torch.equal(adapted[1], bare[1])
    assert not torch.allclose(adapted[-1], bare[-1])


@pytest.mark.parametrize(("family", "placement"), PLACED)
def test_all_that_trains_has_a_gradient_and_nothing_else_moves(family, placement):
    model = with_adapter(family, placement)
    model.add_adapter("idle", tiny.bottleneck(placement=placement))
    tiny.add_head(model, "idle")
    model.train_only(adapters=["one"], heads=["task"])
    model.train()
    before = tiny.snapshot(model)
    trained = set(model.trained_state())
    assert {name.split(".")[0] for name in trained} == {"adapters", "heads"}
    assert not any("idle" in name for name in trained)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        model(**tiny.inputs(model), labels=torch.tensor([0, 1, 1])).loss.backward()
        moving = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        assert moving == trained
        optimizer.step()
    after = tiny.snapshot(model)
    assert {name for name in before if not torch.equal(before[name], after[name])} == trained


@contextmanager
def flowing(block, **paths):
    """What the named submodules give, before any adapter of the model touches it."""
    seen, handles = {}, []

    def keep(name):
        def hook(_module, args, output):
            seen[name] = output[0] if isinstance(output, tuple) else output
            if name == "layer":
                seen["into"] = args[0]

        return hook

    for name, path in paths.items():
        module = block if path == "." else block.get_submodule(path)
        handles.append(module.register_forward_hook(keep(name), prepend=True))
    yield seen
    for handle in handles:
        handle.remove()


def normed(layer, path):
    norm = layer.get_submodule(path)
    return lambda s: F.layer_norm(s, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def expected_post_norm(family, placement, layer, seen, delta):
    """One post-LN layer by hand: (attention's output, the layer's output)."""
    _, first, _, second = POST_LN[family]
    first, second = normed(layer, first), normed(layer, second)
    into, attention, feed = seen["into"], seen["attention"], seen["feed"]
    if placement == "houlsby":
        attention = attention + delta("attention_inner", attention)
    middle = first(attention + into)
    if placement == "pfeiffer":
        s = feed + middle
        return middle, second(s + delta("ffn", second(s)))
    if placement == "houlsby":
        return middle, second(feed + delta("ffn_inner", feed) + middle)
    return middle, second(feed + delta("ffn_parallel", middle) + middle)


def feed_forward(family, layer, middle):
    """A post-LN layer's feed-forward sub-layer, by hand."""
    first, second = (
        (layer.ffn.lin1, layer.ffn.lin2)
        if family == "distilbert"
        else (layer.intermediate.dense, layer.output.dense)
    )
    hidden = F.gelu(middle @ first.weight.T + first.bias)
    return hidden @ second.weight.T + second.bias


def both_layers_by_hand(model, paths):
    """(layer, index, what flowed there, the layer's output) for both layers of one forward."""
    layers = model.table.layer_list(model.backbone)
    found = []
    for index, layer in enumerate(layers):
        with flowing(layer, layer=".", **paths) as seen:
            outputs = states(model)
        found.append((layer, index, seen, outputs[index + 1]))
    return found


@pytest.mark.parametrize("placement", ["pfeiffer", "houlsby", "parallel"])
@pytest.mark.parametrize("family", POST_LN)
def test_post_norm_layers_equal_the_formula_written_by_hand(family, placement):
    model = with_adapter(family, placement).double()
    attention, _, feed, _ = POST_LN[family]
    for layer, index, seen, output in both_layers_by_hand(model, {"attention": attention, "feed": feed}):

        def delta(row, x, index=index):
            return model.adapters["one"].at(f"{row}.{index}")(x)

        with torch.no_grad():
            middle, wanted = expected_post_norm(family, placement, layer, seen, delta)
            torch.testing.assert_close(seen["feed"], feed_forward(family, layer, middle), rtol=0, atol=1e-10)
            torch.testing.assert_close(output, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("placement", ["pfeiffer", "houlsby", "parallel"])
@pytest.mark.parametrize("family", PRE_LN)
def test_pre_norm_layers_equal_the_formula_written_by_hand(family, placement):
    model = with_adapter(family, placement).double()
    attn, mlp, norm = PRE_LN[family]
    for layer, index, seen, _ in both_layers_by_hand(model, {"attention": attn, "feed": mlp}):

        def delta(row, x, index=index):
            return model.adapters["one"].at(f"{row}.{index}")(x)

        with torch.no_grad(), flowing(layer, layer=".") as before:
            states(model)
            attention, feed = seen["attention"], seen["feed"]
            if placement == "houlsby":
                attention = attention + delta("attention_inner", attention)
            middle = before["into"] + attention
            torch.testing.assert_close(feed, layer.mlp.forward(layer.get_submodule(norm)(middle)))
            wanted = middle + feed
            if placement == "pfeiffer":
                # `flowing` looks before the adapter, so the bare layer ends in h + a.
                torch.testing.assert_close(before["layer"], wanted)
                wanted = wanted + delta("ffn", wanted)
            if placement == "houlsby":
                wanted = wanted + delta("ffn_inner", feed)
            if placement == "parallel":
                wanted = wanted + delta("ffn_parallel", middle)
        hidden = _after(model, layer)
        torch.testing.assert_close(hidden, wanted, rtol=0, atol=1e-10)


def _after(model, layer):
    """What a layer hands on, its adapters included."""
    kept = []
    handle = layer.register_forward_hook(lambda _m, _a, output: kept.append(output))
    states(model)
    handle.remove()
    return kept[0][0] if isinstance(kept[0], tuple) else kept[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_sublayer_tap_is_what_an_adapter_inside_the_sublayer_reads(family):
    model = tiny.adapted(family)
    model.backbone.double()
    seen = {}

    def record(site, wants=frozenset()):
        def mix(given):
            seen.setdefault(site.key, given)
            return torch.zeros_like(given.x)

        site.attach(mix, wants)

    sites = [site for site in model._routing.sites.values() if site.row.sublayer is not None]
    assert sites
    for site in sites:
        record(site, frozenset({"sublayer"}))
        record(model._routing.sites[f"ffn_inner.{site.index}"])
    states(model)
    for site in sites:
        given, inner = seen[site.key], seen[f"ffn_inner.{site.index}"]
        assert torch.equal(given.sublayer, inner.x)
        assert torch.equal(inner.sublayer, inner.x)
        assert not torch.allclose(given.sublayer, given.x)
        assert not site._seen, "an activation outlived its layer"
