"""The gradients that AdapterHub's `adapters` recorded are the ones that train a fusion here."""

import golden
import pytest
import recorded
import torch

LABELS = torch.tensor([0, 1, 2])
CLOSE = {"rtol": 0, "atol": 1e-9}


def recorded_gradients():
    found = golden.expected("bert", "seq_bn")
    return {key.removeprefix("grads/"): value for key, value in found.items() if key.startswith("grads/")}


def gradients(model, loss):
    """By that library's keys; None where a parameter has no part in the loss."""
    part = model.fusions[recorded.FUSED]
    parameters = dict(part.requires_grad_(True).named_parameters())
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    found = torch.autograd.grad(loss(), list(parameters.values()), allow_unused=True)
    return {recorded.their_key(ours): value for ours, value in zip(parameters, found, strict=True)}


def loss_of(model):
    return model(**golden.inputs("bert"), labels=LABELS).loss


@pytest.fixture
def model(tmp_path):
    return recorded.fused(golden.unpack("bert", "seq_bn", tmp_path))


def test_the_cross_entropy_has_the_recorded_gradients(model):
    found, wanted = gradients(model, lambda: loss_of(model)), recorded_gradients()
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        if key.endswith("key.bias"):
            # The same number in every score of a token: the softmax takes it out again. What the library
            # found is rounding; here the bias is not even read where no dropout falls on the scores.
            assert value.abs().max() < 1e-12
            assert found[key] is None
        else:
            assert value.abs().max() > 1e-6, "this gradient would show nothing"
            torch.testing.assert_close(found[key], value, **CLOSE, msg=key)


def test_the_penalty_is_the_recorded_one(model):
    wanted = golden.expected("bert", "seq_bn")["penalty"]
    torch.testing.assert_close(model.penalty().detach(), wanted, **CLOSE)
    off = [torch.eye(16) - site.value.weight for _, site in model.fusions[recorded.FUSED].items()]
    torch.testing.assert_close(wanted, 0.01 * sum((each**2).sum() for each in off).detach(), **CLOSE)


def test_a_training_step_adds_the_penalty_and_its_gradient_to_the_recorded_ones(tmp_path):
    model = recorded.fused(golden.unpack_training(tmp_path), dropout=False)
    cross_entropy = loss_of(model).detach()
    model.train_only(fusion=recorded.FUSED)
    model.train()
    loss, wanted = loss_of(model), recorded_gradients()
    torch.testing.assert_close(
        loss.detach(), cross_entropy + golden.expected("bert", "seq_bn")["penalty"], **CLOSE
    )
    loss.backward()
    for ours, parameter in model.fusions[recorded.FUSED].named_parameters():
        own = wanted[recorded.their_key(ours)]
        if ours.endswith("value.weight"):
            own = own - 0.02 * (torch.eye(16) - parameter.detach())
        if not ours.endswith("key.bias"):
            torch.testing.assert_close(parameter.grad, own, **CLOSE, msg=ours)
