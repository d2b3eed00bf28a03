"""LoRA is what merging its delta into the linear gives, on any linear of any family."""

import pytest
import tiny
import torch
from kinds import add_kind, outputs, part, spec_of, with_kind
from placed import FAMILIES

from fusion_pipeline import AdaptedModel
from fusion_pipeline.adapters.bank import LowRankBank
from fusion_pipeline.adapters.module_bank import bank_of
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.fusion import AdapterFusionSpec
from fusion_pipeline.mixing import Batch
from fusion_pipeline.sites import load_table

TARGETS = [(family, target) for family in FAMILIES for target in load_table(family).linears]


def lora(family="bert", **values):
    return with_kind(family, "lora", **{"rank": 3, **values})


def merge(model):
    """W + s·B A in the backbone's own linears, and no adapter."""
    for key, module in part(model).items():
        row, layer = key.split(".")
        linear = model.table.sites[row].write.module(model.table.layer_list(model.backbone)[int(layer)])
        delta = module.spec.scale * module.up @ module.down
        with torch.no_grad():
            linear.weight += delta.T if hasattr(linear, "nf") else delta
    model.set_active(None)


@pytest.mark.parametrize(("family", "target"), TARGETS)
def test_it_equals_the_merged_linear(family, target):
    model = lora(family, targets=[target], alpha=7.0).double()
    found = outputs(model).last_hidden_state
    model.set_active(None)
    assert not torch.allclose(outputs(model).last_hidden_state, found)
    merge(model)
    torch.testing.assert_close(outputs(model).last_hidden_state, found, rtol=0, atol=1e-10)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_all_targets_together_equal_the_merged_linears(family):
    model = lora(family, targets=load_table(family).linears, rslora=True).double()
    found = outputs(model).last_hidden_state
    merge(model)
    torch.testing.assert_close(outputs(model).last_hidden_state, found, rtol=0, atol=1e-10)


def test_the_scale_is_alpha_by_the_rank_or_by_its_root():
    assert spec_of("lora", rank=4, alpha=16).scale == 4
    assert spec_of("lora", rank=4, alpha=16, rslora=True).scale == 8


def test_a_site_has_the_widths_of_its_linear():
    model = lora("gpt2", targets=["qkv", "ffn_up", "ffn_down"])
    shapes = {key: (m.down.shape[1], m.up.shape[0]) for key, m in part(model).items() if key.endswith(".0")}
    assert shapes == {"qkv.0": (32, 96), "ffn_up.0": (32, 128), "ffn_down.0": (128, 32)}


def test_its_dropout_falls_on_the_input_alone_or_in_a_bank_in_training_only():
    model = lora(dropout=0.5, targets=["query"])
    module = part(model).at("query.0")
    x = torch.randn(40, 32)
    bank = bank_of(["a", "b"], [module, module], Batch())
    assert isinstance(bank, LowRankBank)
    calm = module(x)
    torch.testing.assert_close(bank.deltas(bank.hidden(x))[:, 0], calm)
    module.train()
    drawn = torch.stack([module(x) for _ in range(400)])
    assert not torch.equal(drawn[0], drawn[1])
    torch.testing.assert_close(drawn.mean(0), calm, rtol=0, atol=0.35 * calm.std().item())
    one, two = bank.deltas(bank.hidden(x)).unbind(-2)
    assert not torch.allclose(one, two), "every adapter drops for itself"


def test_a_fusion_over_it_lives_in_the_widths_of_the_linear():
    model = lora("gpt2", targets=["ffn_up"])
    add_kind(model, "lora", "two", targets=["ffn_up"], rank=5, seed=1)
    model.add_fusion("mix", AdapterFusionSpec(), ["one", "two"])
    assert model.fusions["mix"].at("ffn_up.0").value.weight.shape == (128, 128)
    model.set_active(["one", "two"], fusion="mix")
    assert outputs(model, output_fusion_weights=True).fusion_weights["ffn_up.1"].shape[-1] == 2


def test_what_it_cannot_do_is_refused():
    with pytest.raises(PipelineError, match="no linear 'query'") as caught:
        tiny.adapted("gpt2").add_adapter("one", spec_of("lora", targets=["query"]))
    assert "qkv" in caught.value.hint
    for values in ({"rank": 0}, {"alpha": 0}, {"dropout": 1}, {"targets": ["query", "query"]}):
        with pytest.raises(PipelineError, match="out of range"):
            spec_of("lora", **values)


def test_targets_are_chosen_on_the_command_line_and_remembered(tmp_path):
    data = tiny.write_csv(tmp_path / "own.csv", tiny.rows(40))
    words = ("adapter=lora", "adapter.targets=[key,ffn_down]", "adapter.rslora=true", "adapter.rank=2")
    tiny.stage("stage=adapters", f"task={data}", f"output_root={tmp_path}", *words, *tiny.columns())
    saved = AdaptedModel.load(tmp_path / "adapters" / "own").adapters["own"]
    assert saved.spec == spec_of("lora", targets=["key", "ffn_down"], rslora=True, rank=2)
    assert saved.rows == {"key", "ffn_down"}
