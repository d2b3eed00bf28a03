"""A bank computes what a plain loop over its adapters computes, and keeps nothing that has changed."""

import pytest
import tiny
import torch
from reference import delta, deltas

from fusion_pipeline.adapters import Between, Bottleneck, BottleneckSpec, LowRank, LowRankBank

D_IN, D_OUT = 10, 14
COUNTS = (1, 2, 3, 5, 8, 16)
ACTIVATIONS = ("relu", "tanh", "gelu", "swish")


def adapters(count, *, mixed=True, trains=False):
    """Adapters of different widths, activations and scales (or all alike), biases not zero."""
    made = []
    for n in range(count):
        spec = BottleneckSpec(
            width=3 + (n % 4 if mixed else 0),
            activation=ACTIVATIONS[n % 4 if mixed else 0],
            scaling=(1.0, 0.5, 3.0)[n % 3 if mixed else 0],
        )
        made.append(tiny.shake(Bottleneck(spec, D_IN, D_OUT).double(), seed=n).requires_grad_(trains))
    return made


def bank_of(modules):
    return LowRankBank([f"a{n}" for n in range(len(modules))], modules)


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize("count", COUNTS)
def test_every_method_equals_a_plain_loop(count, mixed):
    modules = adapters(count, mixed=mixed)
    bank, x, query, weights = bank_of(modules), draw(2, 3, D_IN), draw(2, 3, D_OUT, seed=2), draw(2, 3, count)
    hidden, each = bank.hidden(x), deltas(modules, x)
    torch.testing.assert_close(bank.deltas(hidden), each, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        bank.scores(query, hidden), torch.einsum("btd,btnd->btn", query, each), rtol=0, atol=1e-10
    )
    torch.testing.assert_close(
        bank.combine(weights, hidden), torch.einsum("btn,btnd->btd", weights, each), rtol=0, atol=1e-10
    )
    torch.testing.assert_close(modules[0](x), delta(modules[0], x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("count", [1, 3, 16])
def test_gradients_through_the_bank_are_those_of_a_plain_loop(count):
    def gradients(modules, use_bank):
        x, query, weights = (
            draw(2, 3, width, seed=seed).requires_grad_()
            for width, seed in ((D_IN, 3), (D_OUT, 4), (count, 5))
        )
        if use_bank:
            bank = bank_of(modules)
            hidden = bank.hidden(x)
            answers = (bank.scores(query, hidden), bank.combine(weights, hidden), bank.deltas(hidden))
        else:
            each = deltas(modules, x)
            answers = ((query.unsqueeze(-2) * each).sum(-1), (weights.unsqueeze(-1) * each).sum(-2), each)
        # Squares, so that no gradient is a constant.
        loss = sum((answer**2).sum() for answer in answers)
        return torch.autograd.grad(loss, [x, query, weights, *(p for m in modules for p in m.parameters())])

    modules = adapters(count, trains=True)
    for ours, plain in zip(gradients(modules, True), gradients(modules, False), strict=True):
        assert plain.abs().max() > 0
        torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-9)


def test_frozen_adapters_are_stacked_once():
    bank = bank_of(adapters(3))
    assert bank.stack() is bank.stack()


def write_in_place(module):
    with torch.no_grad():
        module.up.weight.mul_(2)


def replace_storage(module):
    module.up.weight.data = module.up.weight.data * 2


def load(module):
    module.load_state_dict({name: 2 * value for name, value in module.state_dict().items()})


@pytest.mark.parametrize("change", [write_in_place, replace_storage, load])
def test_a_changed_weight_makes_a_frozen_stack_anew(change):
    modules = adapters(3)
    bank, x = bank_of(modules), draw(2, 3, D_IN)
    before = bank.deltas(bank.hidden(x))
    change(modules[1])
    after = bank.deltas(bank.hidden(x))
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, deltas(modules, x), rtol=0, atol=1e-10)


@pytest.mark.parametrize("fused", [True, False])
def test_what_was_kept_for_a_prediction_does_not_outlive_training(fused):
    # transformers' default optimiser is a fused one, which changes weights without raising their version.
    modules = adapters(3, trains=True)
    bank, x = bank_of(modules), draw(2, 3, D_IN)
    optimizer = torch.optim.AdamW([p for m in modules for p in m.parameters()], lr=0.1, fused=fused)
    with torch.no_grad():
        bank.deltas(bank.hidden(x))
    bank.deltas(bank.hidden(x)).square().sum().backward()
    optimizer.step()
    with torch.no_grad():
        torch.testing.assert_close(bank.deltas(bank.hidden(x)), deltas(modules, x), rtol=0, atol=1e-10)


def test_a_prediction_in_inference_mode_does_not_spoil_later_training():
    bank, x = bank_of(adapters(3)), draw(2, 3, D_IN).requires_grad_()
    with torch.inference_mode():
        bank.deltas(bank.hidden(x))
    bank.deltas(bank.hidden(x)).square().sum().backward()
    assert x.grad.abs().max() > 0


def test_an_adapters_own_dropout_works_in_training_only():
    spec = BottleneckSpec(width=8, dropout=0.5)
    modules = [tiny.shake(Bottleneck(spec, D_IN, D_OUT).double(), seed=n) for n in range(2)]
    bank, x = bank_of(modules), draw(4, 5, D_IN)
    hidden = bank.hidden(x)
    assert not torch.equal(hidden, bank.hidden(x))
    kept = hidden != 0
    plain = torch.cat([torch.relu(m.down(x)) for m in modules], dim=-1)
    torch.testing.assert_close(hidden[kept], 2 * plain[kept])
    for module in modules:
        module.eval()
    torch.testing.assert_close(bank.hidden(x), plain)


class Bare(torch.nn.Module):
    """A low-rank delta without biases, as LoRA has it."""

    def __init__(self, width):
        super().__init__()
        self.down = torch.nn.Parameter(draw(width, D_IN, seed=width))
        self.up = torch.nn.Parameter(draw(D_OUT, width, seed=width))

    def low_rank(self):
        return LowRank(
            down=self.down,
            down_bias=None,
            up=self.up,
            up_bias=None,
            scale=2.0,
        )

    def between(self):
        return Between(width=len(self.down), activation="identity", function=lambda x: x)

    def forward(self, x):
        return 2.0 * (x @ self.down.T @ self.up.T)


@pytest.mark.parametrize("beside", [0, 2])
def test_deltas_without_biases_stand_beside_others(beside):
    modules = [Bare(4), *adapters(beside), Bare(5)]
    bank, x, query = bank_of(modules), draw(2, 3, D_IN), draw(2, 3, D_OUT)
    each = torch.stack([module(x) for module in modules], dim=-2)
    hidden = bank.hidden(x)
    torch.testing.assert_close(bank.deltas(hidden), each)
    torch.testing.assert_close(bank.scores(query, hidden), torch.einsum("btd,btnd->btn", query, each))
    weights = draw(2, 3, len(modules), seed=9)
    torch.testing.assert_close(bank.combine(weights, hidden), torch.einsum("btn,btnd->btd", weights, each))
