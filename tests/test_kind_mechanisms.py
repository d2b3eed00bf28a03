"""What each kind is for matters: the gate, the attention, the Kronecker products, the generator, the prompt."""

import pytest
import tiny
import torch
from kinds import outputs, part, spec_of, with_kind
from placed import FAMILIES

from fusion_pipeline import registry
from fusion_pipeline.adapters.building import build_adapter
from fusion_pipeline.errors import PipelineError

TEXTS = [family for family in FAMILIES if family not in ("vit", "deit", "beit")]


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def module_of(kind, d_in=12, d_out=16, **values):
    return tiny.shake(spec_of(kind, **values).build(d_in, d_out).double()).eval()


# --- moa --------------------------------------------------------------------------------------------


def expert(moa, n, x):
    """Δ_n by hand."""
    width = moa.spec.bottleneck(x.shape[-1])
    rows = slice(n * width, (n + 1) * width)
    hidden = torch.relu(x @ moa.down.weight[rows].T + moa.down.bias[rows])
    return moa.spec.scaling * (hidden @ moa.up.weight[:, rows].T + moa.up_bias[n])


@pytest.mark.parametrize("top_k", [None, 1, 2])
def test_a_mixture_is_its_experts_weighed_by_the_gate(top_k):
    moa, x = module_of("moa", experts=3, width=5, top_k=top_k, scaling=2.0), draw(2, 7, 12)
    scores = x @ moa.gate.weight.T + moa.gate.bias
    if top_k is not None:
        order = scores.argsort(-1, descending=True)
        scores = scores.scatter(-1, order[..., top_k:], float("-inf"))
    weights = torch.softmax(scores, -1)
    assert int((weights > 0).sum(-1).max()) == (top_k or 3)
    wanted = sum(weights[..., n : n + 1] * expert(moa, n, x) for n in range(3))
    torch.testing.assert_close(moa(x), wanted)
    with torch.no_grad():
        moa.gate.weight.zero_()
    assert not torch.allclose(moa(x), wanted), "the gate made no difference"


def balanced(moa, x, mask):
    """The balance's term by hand, over real tokens."""
    shares = torch.softmax(x @ moa.gate.weight.T + moa.gate.bias, -1)[mask.bool()]
    part = shares
    if moa.spec.top_k is not None:
        best = shares.argsort(-1, descending=True)[:, : moa.spec.top_k]
        part = torch.zeros_like(shares).scatter(-1, best, 1 / moa.spec.top_k)
    return moa.spec.balance * moa.spec.experts * (part.mean(0) * shares.mean(0)).sum()


@pytest.mark.parametrize("top_k", [None, 1, 2])
def test_the_gates_balance_is_counted_over_real_tokens_in_training(top_k):
    moa, x = module_of("moa", experts=3, width=5, top_k=top_k, balance=0.3), draw(2, 7, 12)
    mask = torch.tensor([[1] * 7, [1] * 2 + [0] * 5])
    moa(x, mask)
    assert moa.penalty() is None, "evaluation has no loss to balance"
    moa.train()(x, mask)
    torch.testing.assert_close(moa.penalty(), balanced(moa, x, mask))
    moa.penalty().backward()
    assert moa.gate.weight.grad.any()
    moa.begin()
    assert moa.penalty() is None


@pytest.mark.parametrize("top_k", [None, 2])
def test_balancing_takes_the_weight_off_a_favourite(top_k):
    moa, x = module_of("moa", experts=4, width=2, top_k=top_k, balance=1.0).train(), draw(4, 30, 12)
    with torch.no_grad():
        moa.gate.bias[0] = 5
    learn = torch.optim.SGD([moa.gate.weight, moa.gate.bias], 1.0)
    before = moa.weights(x).mean((0, 1)).max().item()
    for _ in range(60):
        moa.begin()
        moa(x)
        learn.zero_grad()
        moa.penalty().backward()
        learn.step()
    after = moa.weights(x).mean((0, 1)).max().item()
    assert before > 0.7
    assert after < 0.4


@pytest.mark.parametrize(("balance", "differs"), [(0.0, False), (0.5, True)])
def test_the_balance_is_in_the_training_loss_of_a_model_and_not_in_evaluation(balance, differs):
    model = with_kind("bert", "moa", balance=balance)
    model.train_only(adapters=["one"], heads=["task"])
    model.backbone_dropout = False
    told = {}
    for mode in (False, True):
        model.train(mode)
        told[mode] = model(**tiny.inputs(model), labels=torch.tensor([0, 1, 1])).loss.item()
    assert (abs(told[True] - told[False]) > 1e-3) == differs


def test_one_expert_a_token_is_chosen_by_what_the_task_says():
    moa, x = module_of("moa", experts=3, width=5, top_k=1, balance=0.0).train(), draw(2, 7, 12)
    moa(x).square().sum().backward()
    assert moa.gate.weight.grad.any()


# --- task attention ----------------------------------------------------------------------------------


def attended(module, x, mask):
    """The same by torch's own attention."""
    parts = (x @ module.down.weight.T + module.down.bias) @ module.qkv.weight.T + module.qkv.bias
    heads = module.spec.heads
    q, k, v = (p.unflatten(-1, (heads, -1)).transpose(1, 2) for p in parts.chunk(3, -1))
    found = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return found.transpose(1, 2).flatten(-2) @ module.up.weight.T + module.up.bias


@pytest.mark.parametrize("causal", [False, True])
def test_task_attention_is_attention_in_the_bottleneck_over_real_tokens(causal):
    module, x = module_of("task_attention", width=8, heads=2, causal=causal), draw(2, 5, 12)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    seen = mask.bool()[:, None, None, :] & (torch.ones(5, 5).tril().bool() if causal else True)
    torch.testing.assert_close(module(x, mask), attended(module, x, seen))
    other = x.clone()
    other[0, 4] += 1
    moved = (module(other, mask) - module(x, mask)).abs().amax(-1) > 1e-9
    assert moved[0].tolist() == [not causal] * 4 + [True], "tokens do not hear each other"
    assert not moved[1].any()
    assert module(x, torch.zeros(2, 5)).isfinite().all(), "fillers must stay finite"


# --- compacter ----------------------------------------------------------------------------------------


def test_compacters_matrices_are_sums_of_kronecker_products():
    module = module_of("compacter", width=8, terms=4, rank=2)
    made = module.low_rank()
    for factors, matrix in ((module.down, made.down), (module.up, made.up)):
        wanted = sum(
            torch.kron(a, s @ t.T)
            for a, s, t in zip(module.rule.matrices, factors.left, factors.right, strict=True)
        )
        torch.testing.assert_close(matrix, wanted)


@pytest.mark.parametrize("share", [True, False])
def test_compacters_rule_is_one_for_all_layers_and_stored_once(share):
    model = with_kind("bert", "compacter", share=share)
    rules = [module.rule.matrices for _, module in part(model).items()]
    assert (rules[0] is rules[1]) == share
    assert sum(name.endswith("rule.matrices") for name in part(model).state_dict()) == (1 if share else 2)
    before = outputs(model).hidden_states
    with torch.no_grad():
        rules[1].mul_(2)  # kept stacks must notice what changes beside a module's own weights
    after = outputs(model).hidden_states
    assert torch.equal(before[1], after[1]) != share
    assert not torch.equal(before[2], after[2])


# --- hyper --------------------------------------------------------------------------------------------


def test_one_generator_makes_every_sites_adapter_from_task_and_site():
    model = with_kind("bert", "hyper", placement="houlsby", width=4)
    modules = dict(part(model).items())
    assert len({id(module.generator) for module in modules.values()}) == 1
    downs = [module.low_rank().down for module in modules.values()]
    assert not any(torch.equal(downs[0], other) for other in downs[1:]), "sites are told apart"
    first = next(iter(modules.values()))
    before = first.low_rank().up.clone()
    with torch.no_grad():
        first.generator.task += 1
    assert not torch.equal(first.low_rank().up, before), "the task made no difference"


def test_sites_of_different_widths_have_no_generator_in_common():
    with pytest.raises(PipelineError, match="equal widths") as caught:
        build_adapter(spec_of("hyper", width=4), {"ffn_up.0": (32, 64), "ffn_down.0": (64, 32)})
    assert caught.value.where == "adapter.placement"


# --- prompt -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", TEXTS)
@pytest.mark.parametrize("pooling", ["first", "mean", "last"])
def test_a_prompt_is_virtual_tokens_before_the_embeddings(family, pooling):
    model = tiny.adapted(family, pooling=pooling)
    model.add_adapter("one", spec_of("prompt", length=3))
    tiny.add_head(model, dropout=0.0)
    model.set_active("one", head="task")
    model.eval()
    given, found = tiny.inputs(model), outputs(model)
    embeds = model.backbone.get_input_embeddings()(given["input_ids"])
    tokens = part(model).at("input.0").tokens
    with torch.no_grad():
        longer = model.backbone(
            inputs_embeds=torch.cat([tokens.expand(3, -1, -1), embeds], 1),
            attention_mask=torch.cat([torch.ones(3, 3).long(), given["attention_mask"]], 1),
        ).last_hidden_state[:, 3:]
    torch.testing.assert_close(found.last_hidden_state, longer)
    assert found.last_hidden_state.shape[1] == given["input_ids"].shape[1]
    assert all(layer.shape == found.last_hidden_state.shape for layer in found.hidden_states[1:])


def test_a_prompt_starts_at_words():
    table = tiny.adapted().backbone.get_input_embeddings().weight
    tokens = with_kind("bert", "prompt", std=None, length=5).adapters["one"].at("input.0").tokens
    assert all((table == token).all(-1).any() for token in tokens)


@pytest.mark.parametrize(
    ("family", "values", "options", "message"),
    [
        ("vit", {}, {}, "takes no embeddings"),
        ("bert", {"length": 70}, {"max_length": 96}, "70 virtual tokens before texts of 96"),
        ("bert", {}, {"pooling": "backbone"}, "first virtual token"),
    ],
)
def test_a_prompt_without_room_is_refused(family, values, options, message):
    with pytest.raises(PipelineError, match=message):
        tiny.adapted(family, **options).add_adapter("one", spec_of("prompt", **values))


def test_two_prompts_and_a_prompt_without_adapters_under_a_fusion_are_refused():
    model = with_kind("bert", "prompt")
    model.add_adapter("two", spec_of("prompt"))
    with pytest.raises(PipelineError, match="one prompt at a time"):
        model.set_active(["one", "two"])


# --- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("moa", {"experts": 0}, "experts=0"),
        ("moa", {"top_k": 9}, "top_k=9"),
        ("moa", {"balance": -1.0}, "balance=-1"),
        ("task_attention", {"width": 6, "heads": 4}, "4 heads do not divide"),
        ("compacter", {"width": 6}, "4 terms do not divide the bottleneck of 6"),
        ("hyper", {"embedding": 0}, "embedding=0"),
        ("prompt", {"init": "zeros"}, "no init 'zeros'"),
        ("houlsby", {"activation": "rely"}, "no activation 'rely'"),
    ],
)
def test_settings_that_make_no_adapter_are_refused(kind, values, message):
    with pytest.raises(PipelineError, match=message):
        tiny.adapted().add_adapter("one", spec_of(kind, **values))


def test_frozen_adapters_that_are_made_are_made_once_for_many_batches(monkeypatch):
    model = tiny.adapted()
    for name in ("one", "other"):
        model.add_adapter(name, registry.build("adapter", "hyper", reduction_factor=4))
    model.add_fusion("f", registry.build("fusion", "adapterfusion"), ["one", "other"])
    model.set_active(["one", "other"], fusion="f")
    model.train_only(fusion="f")
    model.train()
    made = []
    for module in model.adapters.modules():
        if hasattr(module, "low_rank"):
            own = module.low_rank
            monkeypatch.setattr(module, "low_rank", lambda own=own: made.append(1) or own())
    for _ in range(3):
        model(**tiny.inputs(model))
    assert len(made) == 2 * len(model.table.layer_list(model.backbone))
