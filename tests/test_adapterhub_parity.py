"""The same numbers from the same files: AdapterHub's `adapters`, recorded, against this pipeline."""

import golden
import pytest
import torch

from fusion_pipeline import AdaptedModel
from fusion_pipeline.backbone import BackboneSpec

CASES = [(family, case) for family in golden.FAMILIES for case in golden.cases(family)]
# Parts of these families compute in float32 in transformers 5, whatever the model's dtype.
FLOAT64 = {"beit": 2e-5, "llama": 1e-6}


def load(folder, run):
    base = BackboneSpec(kind="recorded", path=str(folder / "base"), attention="eager")
    head = folder / "head"
    if run == "single":
        return AdaptedModel.from_adapterhub(base, [folder / "a"], head=head)
    adapters = [folder / name for name in ("c", "a", "b")]  # the fusion's own order is in its file
    return AdaptedModel.from_adapterhub(base, adapters, fusion=folder / "fusion", head=head)


def run_model(model, batch):
    return model(**batch, output_hidden_states=True, output_fusion_weights=model.active_fusion is not None)


def differences(found, wanted, table):
    """{name: largest difference} of logits, hidden states and fusion weights."""
    gaps = {}
    for name, value in wanted.items():
        kind, *rest = name.replace("hidden_states.", "hidden_states/").split("/")
        if kind == "weights":
            layer, site = rest
            got = found.fusion_weights[weights_key(found, table, layer, site)]
        else:
            got = found.hidden_states[int(rest[0])] if rest else found[kind]
        gaps[name] = float((got.double() - value).abs().max())
    return gaps


def weights_key(found, table, layer, site):
    ending = f".0#{layer}" if table.shared else f".{layer}"
    (key,) = [
        key
        for key in found.fusion_weights
        if key.endswith(ending) and key.startswith("attention") == (site == "attention")
    ]
    return key


def expected(family, case, run):
    prefix = f"{run}/"
    return {
        k.removeprefix(prefix): v for k, v in golden.expected(family, case).items() if k.startswith(prefix)
    }


@pytest.mark.parametrize("run", ["single", "fuse"])
@pytest.mark.parametrize(("family", "case"), CASES)
def test_logits_hidden_states_and_weights_are_the_recorded_ones(family, case, run, tmp_path):
    model = load(golden.unpack(family, case, tmp_path), run)
    wanted = expected(family, case, run)
    assert {"logits", "last_hidden_state"} <= wanted.keys()
    assert (run == "fuse") == any(name.startswith("weights/") for name in wanted)
    for dtype, most in ((torch.float32, 1e-5), (torch.float64, FLOAT64.get(family, 1e-10))):
        model.to(dtype)
        batch = {k: v.to(dtype) if v.is_floating_point() else v for k, v in golden.inputs(family).items()}
        size = max(1.0, float(max(value.abs().max() for value in wanted.values())))
        for grad in (False, True):  # the folded form and the cheap one
            with torch.set_grad_enabled(grad):
                gaps = differences(run_model(model, batch), wanted, model.table)
            assert max(gaps.values()) <= most * size, (dtype, grad, gaps)
