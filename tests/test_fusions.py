"""What every fusion promises, for every yaml in the folder: weights, order, subsets, and the textbook's numbers."""

import mechanisms as m
import pytest
import torch
from reference_fusions import FORMS, textbook
from torch.utils._python_dispatch import TorchDispatchMode

from fusion_pipeline.fusion.spec import Fusion

MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
each = pytest.mark.parametrize(("name", "values"), m.ALL, ids=m.IDS)


def in_its_own_words(fusion):
    """The textbook's form, which a new fusion may not have yet."""
    if type(fusion).__name__.lower() not in FORMS:
        pytest.skip("tests/reference_fusions.py has no textbook form of it")
    return lambda *given: textbook(fusion, *given)


def run(fusion, names=m.NAMES, *, x=None, mask=None):
    return fusion(m.site(m.draw(2, 4, m.D) if x is None else x, mask), m.bank(m.adapters(names)))


def close(one, other, **options):
    torch.testing.assert_close(one, other, rtol=0, atol=1e-10, **options)


@each
def test_the_weights_of_a_token_sum_to_one_where_the_mechanism_says_so(name, values):
    fused = run(m.fusion(name, values))
    assert fused.weights.shape == (2, 4, len(m.NAMES))
    total = fused.weights.sum(-1)
    if m.fusion(name, values).sums_to_one:
        close(total, torch.ones_like(total))
        assert (fused.weights >= 0).all()
    else:
        assert not torch.allclose(total, torch.ones_like(total))


@each
def test_another_order_of_the_adapters_gives_the_same_output(name, values):
    fusion, order = m.fusion(name, values), [3, 0, 4, 1, 2]
    one, two = run(fusion), run(fusion, [m.NAMES[n] for n in order])
    close(two.delta, one.delta)
    close(two.weights, one.weights[..., order])


@each
def test_padding_changes_nothing_for_real_tokens(name, values):
    fusion, x = m.fusion(name, values), m.draw(2, 4, m.D)
    other = torch.where(MASK.bool().unsqueeze(-1), x, 5 * m.draw(2, 4, m.D, seed=8))
    longer = torch.cat([other, m.draw(2, 3, m.D, seed=9)], 1)
    mask = torch.cat([MASK, torch.zeros(2, 3, dtype=torch.long)], 1)
    plain = run(fusion, x=x, mask=MASK)
    for form in (run(fusion, x=other, mask=MASK), run(fusion, x=longer, mask=mask)):
        close(form.delta[:, :4][MASK.bool()], plain.delta[MASK.bool()])
        close(form.weights[:, :4][MASK.bool()], plain.weights[MASK.bool()])


@each
def test_one_adapter_alone_returns_its_delta(name, values):
    if "groups" in values or values.get("norm"):
        pytest.skip("groups name adapters that are not there; a norm changes what it is given")
    if name == "hierarchical" and values.get("outer") == "scalearn":
        pytest.skip("a scale does not sum to one")
    fusion = m.fusion(name, values, ["b"], std=None)
    fused, delta = run(fusion, ["b"]), m.adapters()["b"](m.draw(2, 4, m.D))
    if fusion.sums_to_one:
        torch.testing.assert_close(fused.delta, delta, rtol=0, atol=1e-4)
        close(fused.weights, torch.ones_like(fused.weights))
    else:
        torch.testing.assert_close(fused.delta, fused.weights * delta, rtol=0, atol=0.02)


@each
def test_it_trains_from_two_adapters_on(name, values):
    if "groups" in values:
        pytest.skip("the groups name more adapters")
    for names in (m.NAMES[:2], m.NAMES):
        fusion = m.learning(m.fusion(name, values, names, std=None)).train()
        fused = run(fusion, names)
        assert torch.isfinite(fused.delta).all()
        if fused.delta.requires_grad:
            fused.delta.square().sum().backward()
            wanted = [p for p in fusion.parameters() if p.requires_grad]
            assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in wanted)


@each
def test_some_of_the_adapters_are_the_textbook_over_these_with_their_own_parameters(name, values):
    fusion, x = m.fusion(name, values), m.draw(2, 4, m.D)
    plain = in_its_own_words(fusion)
    for names in (["d", "b"], ["c"], ["e", "a", "c"]):
        fused = run(fusion, names, x=x)
        delta, weights = plain(m.adapters(names), x)
        close(fused.delta, delta)
        close(fused.weights, weights)
        if fusion.sums_to_one:
            close(fused.weights.sum(-1), torch.ones(2, 4, dtype=x.dtype))


@each
@pytest.mark.parametrize("mask", [None, MASK], ids=["all real", "padded"])
def test_the_cheap_form_is_the_textbooks_forward_and_backward(name, values, mask):
    fusion = m.fusion(name, {**values, "dropout": 0.0} if name == "scalearn" else values)
    by_hand, parts = in_its_own_words(fusion), m.adapters(train=True)
    real = torch.ones(2, 4, 1) if mask is None else mask.unsqueeze(-1)

    def gradients(form):
        x = m.draw(2, 4, m.D).requires_grad_()
        delta, weights = form(x)
        kept = weights * m.draw(2, 4, len(m.NAMES), seed=4)
        loss = (delta * m.draw(2, 4, m.D, seed=3) * real).sum() + (kept * real).sum()
        wanted = {"x": x, **dict(fusion.named_parameters())}
        wanted |= {f"{n}.{k}": p for n, a in parts.items() for k, p in a.named_parameters()}
        wanted = {key: p for key, p in wanted.items() if p.requires_grad}
        found = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
        zeros = [torch.zeros_like(p) if g is None else g for p, g in zip(wanted.values(), found, strict=True)]
        return delta * real, weights * real, dict(zip(wanted, zeros, strict=True))

    ours = gradients(lambda x: fusion(m.site(x, mask), m.bank(parts)))
    plain = gradients(lambda x: by_hand(parts, x, mask))
    close(ours[0], plain[0])
    close(ours[1], plain[1])
    for key, gradient in plain[2].items():
        torch.testing.assert_close(ours[2][key], gradient, rtol=1e-9, atol=1e-9, msg=key)


@each
def test_a_saved_state_gives_the_same_output_again(name, values):
    fusion, fresh = m.fusion(name, values), m.fusion(name, values, seed=5)
    assert not list(fusion.parameters()) or not torch.equal(run(fusion).delta, run(fresh).delta)
    fresh.load_state_dict(fusion.state_dict())
    assert torch.equal(run(fusion).delta, run(fresh).delta)


class Largest(TorchDispatchMode):
    """Notes the largest tensor any operation makes."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        made = out if isinstance(out, (tuple, list)) else [out]
        # Storage, not shape: views that only repeat take no room.
        sizes = [t.untyped_storage().nbytes() // t.itemsize for t in made if isinstance(t, torch.Tensor)]
        self.numel = max([self.numel, *sizes])
        return out


@each
def test_no_tensor_of_adapters_times_tokens_times_hidden_is_built_where_none_is_needed(name, values):
    tokens, dim = 64, 24
    builds = name == "hierarchical" or (name == "attention" and values.get("pool") != "first")
    parts = {
        n: m.tiny.shake(m.Bottleneck(m.tiny.bottleneck(width=2), dim, dim), seed=i).double()
        for i, n in enumerate(m.NAMES)
    }
    fusion = m.fusion(name, values, dim=dim).train()
    with Largest() as largest:
        fusion(m.site(m.draw(1, tokens, dim).requires_grad_()), m.bank(parts)).delta.sum().backward()
    assert builds or largest.numel < 2 * tokens * dim


def test_every_mechanism_is_a_fusion_with_a_kind_of_its_own():
    for name in m.INSTALLED:
        assert isinstance(m.fusion(name), Fusion)
        assert m.spec(name).kind == name
        assert m.spec(name).__doc__
