"""AdapterFusion's cheap and folded forms are the textbook's, forward and backward, in every variant."""

import pytest
import tiny
import torch
from reference import delta, textbook

from fusion_pipeline import registry
from fusion_pipeline.adapters import Bottleneck, BottleneckSpec, LowRankBank
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.fusion import AdapterFusion, AdapterFusionSpec
from fusion_pipeline.sites import SiteInput

D = 12
COUNTS = (1, 2, 3, 5, 8, 16)
# Fewer tokens than dimensions, and more: the query is folded in two different ways.
SHAPES = ((2, 3), (3, 7))
VARIANTS = {
    "dynamic": {},
    "static": {"value": False},
    "query before the norm": {"query_before_norm": True},
    "temperature": {"temperature": 3.0},
    "residual before": {"residual_before": True},
    "residual twice": {"doubled_residual": True},
    "static, all at once": {
        "query_before_norm": True,
        "temperature": 0.5,
        "value": False,
        "residual_before": True,
    },
    "all at once": {
        "query_before_norm": True,
        "temperature": 0.5,
        "residual_before": True,
        "doubled_residual": True,
    },
}


def draw(*shape, seed=1, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def setup(count, *, mixed=True, adapters_train=True, dtype=torch.float64, std=0.3, **spec):
    """A fusion with every parameter away from its initial value, its bank and the bank's modules."""
    modules = []
    for n in range(count):
        own = BottleneckSpec(
            width=3 + (n % 4 if mixed else 0),
            activation=("relu", "tanh", "gelu", "swish")[n % 4 if mixed else 0],
            scaling=(1.0, 0.5, 2.0)[n % 3],
        )
        module = tiny.shake(Bottleneck(own, D, D), std, seed=n).to(dtype)
        modules.append(module.requires_grad_(adapters_train))
    fusion = tiny.shake(AdapterFusion(AdapterFusionSpec(**spec), D, D), std, seed=99).to(dtype)
    return fusion, modules, LowRankBank([f"a{n}" for n in range(count)], modules)


def site_of(x, query):
    return SiteInput(x=x, sublayer=query)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize("count", COUNTS)
def test_cheap_and_folded_forms_equal_the_textbook(count, mixed, variant, shape):
    fusion, modules, bank = setup(count, mixed=mixed, **VARIANTS[variant])
    x, before = draw(*shape, D), draw(*shape, D, seed=2)
    wanted, wanted_weights = textbook(fusion, modules, x, before)
    cheap = fusion.train()(site_of(x, before), bank)
    with torch.no_grad():
        folded = fusion.eval()(site_of(x, before), bank)
    for form in (cheap, folded):
        torch.testing.assert_close(form.delta, wanted, rtol=0, atol=1e-10)
        torch.testing.assert_close(form.weights, wanted_weights, rtol=0, atol=1e-10)
        torch.testing.assert_close(form.weights.sum(-1), torch.ones(shape, dtype=x.dtype))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("heads", [2, 3])
@pytest.mark.parametrize("mixed", [True, False])
def test_folded_heads_equal_those_that_run_one_after_the_other(mixed, heads, variant, shape):
    fusion, _, bank = setup(5, mixed=mixed, heads=heads, **VARIANTS[variant])
    site = site_of(draw(*shape, D), draw(*shape, D, seed=2))
    wanted = fusion.eval()(site, bank)
    with torch.no_grad():
        folded = fusion(site, bank)
    assert wanted.delta.requires_grad
    torch.testing.assert_close(folded.delta, wanted.delta.detach(), rtol=0, atol=1e-10)
    torch.testing.assert_close(folded.weights, wanted.weights.detach(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("heads", [1, 2])
def test_evaluation_without_gradients_takes_the_folded_form_only(heads):
    fusion, _, bank = setup(3, heads=heads)
    site = site_of(draw(2, 3, D), None)
    fusion.eval()
    bank.scores = bank.combine = lambda *_: pytest.fail("the unfolded form ran")
    with torch.no_grad():
        assert torch.isfinite(fusion(site, bank).delta).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_all_gradients_equal_the_textbooks_with_and_without_score_dropout(count, variant, dropout, shape):
    fusion, modules, bank = setup(count, **{**VARIANTS[variant], "dropout": dropout})
    fusion.train()

    def gradients(run):
        x, before = draw(*shape, D).requires_grad_(), draw(*shape, D, seed=2).requires_grad_()
        torch.manual_seed(5)  # the same dropout mask
        out, weights = run(x, before)
        loss = (out * draw(*shape, D, seed=3)).sum() + (weights * draw(*shape, count, seed=4)).sum()
        wanted = {"x": x, "before": before}
        wanted |= {f"adapter {n} {k}": p for n, m in enumerate(modules) for k, p in m.named_parameters()}
        wanted |= dict(fusion.named_parameters())
        found = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
        zeros = [torch.zeros_like(p) if g is None else g for p, g in zip(wanted.values(), found, strict=True)]
        return out, weights, dict(zip(wanted, zeros, strict=True))

    ours = gradients(lambda x, before: fusion(site_of(x, before), bank))
    plain = gradients(lambda x, b: textbook(fusion, modules, x, b, dropout=dropout))
    torch.testing.assert_close(ours[0], plain[0], rtol=0, atol=1e-10)
    torch.testing.assert_close(ours[1], plain[1], rtol=0, atol=1e-10)
    assert ours[2].keys() == plain[2].keys()
    for name, gradient in plain[2].items():
        torch.testing.assert_close(ours[2][name], gradient, rtol=1e-9, atol=1e-9, msg=name)
    if count > 1:
        # Without score dropout the key's bias cancels in the softmax; with it, it does not.
        assert (plain[2]["key.bias"].abs().max() > 1e-6) == (dropout > 0)


def test_the_keys_bias_trains_only_where_it_has_an_effect():
    assert not setup(2)[0].requires_grad_(True).key.bias.requires_grad
    assert setup(2, dropout=0.1)[0].requires_grad_(True).key.bias.requires_grad
    assert not any(p.requires_grad for p in setup(2, dropout=0.1)[0].requires_grad_(False).parameters())


def test_score_dropout_is_off_in_evaluation_also_where_gradients_are_kept():
    fusion, modules, bank = setup(3, dropout=0.5)
    x = draw(2, 3, D)
    wanted, _ = textbook(fusion, modules, x, x)
    torch.testing.assert_close(fusion.eval()(site_of(x, None), bank).delta, wanted)
    assert not torch.allclose(fusion.train()(site_of(x, None), bank).delta, wanted)


@pytest.mark.parametrize("folded", [True, False])
def test_another_order_of_the_adapters_gives_the_same_output_and_the_weights_in_that_order(folded):
    fusion, modules, bank = setup(5)
    order = [3, 0, 4, 1, 2]
    other = LowRankBank([str(n) for n in order], [modules[n] for n in order])
    fusion.train(not folded)
    with torch.set_grad_enabled(not folded):
        site = site_of(draw(2, 3, D), None)
        one, two = fusion(site, bank), fusion(site, other)
    torch.testing.assert_close(two.delta, one.delta, rtol=0, atol=1e-12)
    torch.testing.assert_close(two.weights, one.weights[..., order], rtol=0, atol=1e-12)
    assert not torch.allclose(two.weights, one.weights)


def test_one_adapter_gives_the_value_of_its_delta():
    fusion, modules, bank = setup(1)
    x = draw(2, 3, D)
    fused = fusion(site_of(x, None), bank)
    torch.testing.assert_close(fused.weights, torch.ones(2, 3, 1, dtype=x.dtype))
    torch.testing.assert_close(fused.delta, delta(modules[0], x) @ fusion.value.weight.T)


def test_a_new_fusion_is_nearly_the_mean_of_its_adapters():
    # Identity-initialised value, queries and keys near zero: training starts where averaging is.
    _, modules, bank = setup(4)
    fresh = AdapterFusion(AdapterFusionSpec(init_std=0.0), D, D).double()
    x = draw(2, 3, D)
    mean = sum(delta(module, x) for module in modules) / 4
    torch.testing.assert_close(fresh(site_of(x, None), bank).delta, mean, rtol=0, atol=1e-4)
    assert torch.equal(torch.diagonal(fresh.value.weight), torch.ones(D, dtype=torch.float64))


def test_the_penalty_is_the_squared_distance_of_the_value_from_the_identity():
    fusion, _, _ = setup(2, regularization=0.25)
    off = torch.eye(D, dtype=torch.float64) - fusion.value.weight
    penalty = fusion.penalty()
    torch.testing.assert_close(penalty, 0.25 * (off**2).sum())
    (gradient,) = torch.autograd.grad(penalty, fusion.value.weight)
    torch.testing.assert_close(gradient, -0.5 * off)
    assert setup(2, regularization=0.0)[0].penalty() is None
    assert setup(2, value=False)[0].penalty() is None


def write_query(fusion, modules):
    with torch.no_grad():
        fusion.query.weight.add_(0.5)


def write_adapter(fusion, modules):
    with torch.no_grad():
        modules[1].up.weight.mul_(-1)


def replace_value(fusion, modules):
    fusion.value.weight.data = fusion.value.weight.data * 2


def load_fusion(fusion, modules):
    fusion.load_state_dict({name: 2 * value for name, value in fusion.state_dict().items()})


@pytest.mark.parametrize("change", [write_query, write_adapter, replace_value, load_fusion])
def test_the_folded_form_follows_every_change_of_a_weight(change):
    fusion, modules, bank = setup(3, adapters_train=False)
    fusion.eval()
    x = draw(2, 3, D)
    with torch.no_grad():
        before = fusion(site_of(x, None), bank).delta
        change(fusion, modules)
        after = fusion(site_of(x, None), bank).delta
        assert not torch.allclose(before, after)
        torch.testing.assert_close(after, textbook(fusion, modules, x, x)[0], rtol=0, atol=1e-10)


@pytest.mark.parametrize("optimizer", ["fused", "foreach", "plain"])
@pytest.mark.parametrize("adapters_train", [True, False])
def test_the_folded_form_follows_every_optimiser(optimizer, adapters_train):
    # A fused AdamW, transformers' default, writes weights without raising their version.
    fusion, modules, bank = setup(3, adapters_train=adapters_train)
    x = draw(2, 3, D)
    trained = [p for m in (fusion, *modules) for p in m.parameters() if p.requires_grad]
    steps = torch.optim.AdamW(trained, lr=0.1, fused=optimizer == "fused", foreach=optimizer == "foreach")
    for _ in range(2):
        with torch.no_grad():
            folded = fusion.eval()(site_of(x, None), bank).delta
            torch.testing.assert_close(folded, textbook(fusion, modules, x, x)[0], rtol=0, atol=1e-10)
        fusion.train()(site_of(x, None), bank).delta.square().sum().backward()
        steps.step()
        steps.zero_grad()
    with torch.no_grad():
        assert not torch.allclose(fusion.eval()(site_of(x, None), bank).delta, folded)


def test_the_folded_form_is_built_once():
    fusion, _, bank = setup(3, adapters_train=False)
    fusion.eval()
    with torch.no_grad():
        fusion(site_of(draw(2, 3, D), None), bank)
        kept = fusion._folded._folded(bank)
        fusion(site_of(draw(2, 3, D), None), bank)
        assert fusion._folded._folded(bank) is kept


def test_a_prediction_in_inference_mode_does_not_spoil_later_training():
    fusion, _, bank = setup(3, adapters_train=False)
    site = site_of(draw(2, 3, D).requires_grad_(), None)
    with torch.inference_mode():
        fusion.eval()(site, bank)
    fusion.train()(site, bank).delta.square().sum().backward()
    assert fusion.query.weight.grad.abs().max() > 0


def test_half_precision_stays_close_to_float32_in_both_forms():
    # Small weights, as after training: scores of ordinary size.
    wide, _, wide_bank = setup(8, dtype=torch.float32, std=0.2)
    half, _, half_bank = setup(8, dtype=torch.bfloat16, std=0.2)
    x = draw(4, 8, D, dtype=torch.float32)
    with torch.no_grad():
        wanted = wide.eval()(site_of(x, None), wide_bank)
        folded = half.eval()(site_of(x.bfloat16(), None), half_bank)
    cheap = half.train()(site_of(x.bfloat16(), None), half_bank)
    scale = wanted.delta.abs().max()
    for form in (folded, cheap):
        assert form.delta.dtype == form.weights.dtype == torch.bfloat16
        assert ((form.delta.float() - wanted.delta).abs().max() / scale) < 0.03
        assert (form.weights.float() - wanted.weights).abs().max() < 0.02


@pytest.mark.parametrize("key", ["query_before_norm", "residual_before", "doubled_residual"])
def test_what_adds_a_vector_of_another_width_is_refused(key):
    spec = registry.build("fusion", "adapterfusion", **{key: True})
    spec.build(8, 8, ("a", "b"))
    with pytest.raises(PipelineError, match="reads 8 and writes 4"):
        spec.build(8, 4, ("a", "b"))
