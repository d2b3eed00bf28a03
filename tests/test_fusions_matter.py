"""Ablations: each part of each fusion changes what it is said to change, and nothing else."""

import mechanisms as m
import pytest
import torch

from fusion_pipeline.balance import load_balance


def run(fusion, *, names=m.NAMES, seed=1, mask=None):
    return fusion(m.site(m.draw(2, 4, m.D, seed=seed), mask), m.bank(m.adapters(names)))


def out(fusion, **options):
    return run(fusion, **options).delta


@pytest.mark.parametrize("name", ["adapterfusion", "attention", "gating", "linear", "router"])
def test_dynamic_weights_differ_between_tokens(name):
    weights = run(m.fusion(name)).weights
    assert not torch.allclose(weights[0, 0], weights[0, 1])


@pytest.mark.parametrize("name", ["average", "weighted", "scalearn"])
def test_static_weights_do_not(name):
    weights = run(m.fusion(name)).weights
    assert torch.equal(weights[0, 0], weights[1, 3])


@pytest.mark.parametrize("name", m.INSTALLED)
def test_it_differs_from_the_average_once_it_has_learned(name):
    same = torch.allclose(out(m.fusion(name)), out(m.fusion("average")))
    assert same == (name == "average")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("adapterfusion", {"heads": 2}),
        ("attention", {"heads": 2}),
        ("attention", {"temperature": 3.0}),
        ("attention", {"pool": "first"}),
        ("attention", {"residual": True}),
        ("gating", {"gate": "sigmoid"}),
        ("gating", {"activation": "tanh"}),
        ("router", {"k": 1}),
        ("router", {"k": 3}),
        ("router", {"per": "sequence"}),
        ("scalearn", {"per": "layer"}),
        ("hierarchical", {"groups": {"g": ["a", "c"], "h": ["b", "d", "e"]}}),
        ("hierarchical", {"inner": "average"}),
        ("hierarchical", {"outer": "average"}),
    ],
)
def test_every_setting_changes_the_output(name, values):
    assert not torch.allclose(out(m.fusion(name, values)), out(m.fusion(name)))


def test_a_norm_makes_outputs_of_mean_zero_and_variance_one():
    fusion = m.fusion("attention", {"norm": True}, std=None)
    x = m.draw(2, 4, m.D)
    output = x + out(fusion)
    torch.testing.assert_close(output.mean(-1), torch.zeros(2, 4, dtype=x.dtype))
    torch.testing.assert_close(
        output.var(-1, correction=0), torch.ones(2, 4, dtype=x.dtype), rtol=0, atol=1e-3
    )


@pytest.mark.parametrize("name", ["attention", "adapterfusion", "scalearn"])
def test_dropout_changes_training_only(name):
    fusion = m.fusion(name, {"dropout": 0.5})
    assert torch.equal(out(fusion.eval()), out(m.fusion(name, {"dropout": 0.0})))
    fusion.train()
    assert not torch.equal(out(fusion), out(fusion))


def test_noise_changes_training_only():
    fusion = m.fusion("router", {"noise": 0.9, "k": 1, "balance": 0.0})
    assert torch.equal(out(fusion.eval()), out(m.fusion("router", {"k": 1})))
    fusion.train()
    assert len({float(out(fusion).sum().detach()) for _ in range(5)}) > 1


@pytest.mark.parametrize("per", ["token", "sequence"])
def test_the_router_learns_from_the_task_and_from_the_balance_also_with_one_choice(per):
    for k in (1, 2):
        fusion = m.fusion("router", {"k": k, "per": per}).train()
        out(fusion).sum().backward()
        assert fusion.rows.values.grad.abs().max() > 1e-6
        fusion.zero_grad()
        fusion.begin()
        run(fusion)
        fusion.penalty().backward()
        assert fusion.rows.values.grad.abs().max() > 1e-6
    assert m.fusion("router", {"balance": 0.0}).train().penalty() is None


def test_the_penalty_is_of_the_last_forward_in_training():
    fusion = m.fusion("router").train()
    run(fusion)
    first = fusion.penalty()
    fusion.begin()
    assert fusion.penalty() is None
    run(fusion)
    torch.testing.assert_close(fusion.penalty(), first)
    fusion.begin()
    run(fusion.eval())
    assert fusion.penalty() is None


def test_the_load_balance_is_one_where_choices_are_even_and_n_where_all_are_the_same():
    even = torch.eye(4)
    torch.testing.assert_close(load_balance(torch.full((4, 4), 0.25), even.bool(), None), torch.tensor(1.0))
    one = torch.zeros(4, 4).index_fill(1, torch.tensor(2), 1.0)
    torch.testing.assert_close(load_balance(one, one.bool(), None), torch.tensor(4.0))
    mask = torch.tensor([1, 0, 0, 0])
    torch.testing.assert_close(load_balance(even, even.bool(), mask), torch.tensor(4.0))


def test_adapters_that_no_real_token_chose_are_not_computed():
    fusion, parts = m.fusion("router", {"k": 1}), m.adapters()
    x, mask = m.draw(1, 3, m.D), torch.tensor([[1, 1, 0]])
    wanted = {m.NAMES[int(n)] for n in fusion(m.site(x), m.bank(parts)).weights[0, :2].argmax(-1)}
    assert computed(fusion, parts, x, mask) == wanted
    assert len(wanted) < len(m.NAMES)


def computed(fusion, parts, x, mask):
    """The adapters whose weights one forward read."""
    read = set()
    for name, part in parts.items():
        part.low_rank = lambda name=name, plain=part.low_rank: read.add(name) or plain()
    fusion(m.site(x, mask), m.bank(parts))
    return read


def test_a_router_of_sequences_sends_all_tokens_of_one_to_the_same_adapters():
    weights = run(m.fusion("router", {"per": "sequence"}, seed=4)).weights
    assert torch.equal(weights[:, :1].expand_as(weights), weights)
    assert not torch.equal(weights[0, 0], weights[1, 0])


def test_a_frozen_weighted_sum_stays_as_drawn_and_a_shared_seed_draws_it_again():
    fusion = m.learning(m.fusion("weighted", {"learnable": False, "init": "normal"}, std=None))
    assert not any(p.requires_grad for p in fusion.parameters())
    assert fusion.logits.values.abs().min() > 0
    assert m.learning(m.fusion("weighted", std=None)).logits.values.requires_grad


def test_scales_start_at_their_sum_over_n_and_weight_decay_leaves_them_alone():
    fusion = m.fusion("scalearn", {"init_sum": 3.0, "init_std": 0.0}, std=None)
    assert torch.all(fusion.omega.values.float() == torch.tensor(3.0 / 5))
    assert fusion.omega.no_decay == ("values",)


def test_a_learned_scale_scales_its_own_adapter_and_no_other():
    fusion = m.fusion("scalearn")
    before = out(fusion)
    with torch.no_grad():
        fusion.omega.values[2] += 1
    extra = m.adapters()["c"](m.draw(2, 4, m.D))
    torch.testing.assert_close(out(fusion) - before, extra)


def test_groups_of_one_have_no_parameters_of_their_own():
    alone = m.fusion("hierarchical", {"groups": {n: [n] for n in m.NAMES}, "outer": "linear"})
    assert not list(alone.inner.parameters())
    torch.testing.assert_close(out(alone), out(m.fusion("linear")))
