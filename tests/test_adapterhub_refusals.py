"""Files of AdapterHub's format that cannot be carried over are refused whole, with all that is wrong in them."""

import pickle
import shutil

import golden
import pytest
import recorded
import torch
from safetensors.torch import load_file

from fusion_pipeline import AdaptedModel
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.interop.adapterhub import load_adapter, load_fusion, load_head
from fusion_pipeline.interop.formats import fetch_folder

LAYER = "bert.encoder.layer.{}.output"
OUTPUT = LAYER.format(0)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    return golden.unpack("bert", "seq_bn", tmp_path_factory.mktemp("recorded"))


@pytest.fixture
def folder(unpacked, tmp_path):
    """A copy of bert's seq_bn, to be damaged."""
    return shutil.copytree(unpacked, tmp_path / "files")


@pytest.fixture(scope="module")
def backbone(unpacked):
    return AdaptedModel.from_backbone(recorded.base(unpacked)).info


@pytest.fixture
def model(backbone):
    """The bare backbone, and nothing on it."""
    bare = AdaptedModel(backbone).eval()
    yield bare
    bare.set_active(None)


def refusal(load, model, *arguments):
    """What is said of a file that is refused; nothing of it may be left in the model."""
    before = {name: shelf.names() for name, shelf in model.named_children() if name != "backbone"}
    with pytest.raises(PipelineError) as caught:
        load(model, *arguments)
    assert before == {name: shelf.names() for name, shelf in model.named_children() if name != "backbone"}
    return caught.value


def with_adapters(model, folder):
    return [load_adapter(model, folder / name) for name in recorded.NAMES]


def adapter(folder):
    return folder / "a" / "adapter_config.json", folder / "a" / "adapter.safetensors"


def fusion(folder):
    return (
        folder / "fusion" / "adapter_fusion_config.json",
        folder / "fusion" / "model_adapter_fusion.safetensors",
    )


# --- configs --------------------------------------------------------------------------------------------------

UNSUPPORTED = {
    "ln_before": True,
    "ln_after": True,
    "use_gating": True,
    "phm_layer": True,
    "inv_adapter": "nice",
    "cross_adapter": True,
    "adapter_residual_before_ln": True,
    "residual_before_ln": False,
    "original_ln_after": False,
    "stochastic_depth": 0.1,
    "scaling": "learned",
    "reduction_factor": {"default": 4, "0": 2},
    "mh_adapter": True,  # with the norm of seq_bn: no placement has both
    "original_ln_before": False,
    "non_linearity": "gelu_10",
    "architecture": "lora",
    "shiny_new_field": 3,
}


@pytest.mark.parametrize("key", UNSUPPORTED)
def test_an_option_with_another_function_is_refused_by_name(model, folder, key):
    config, _ = adapter(folder)
    recorded.edit_config(config, **{key: UNSUPPORTED[key]})
    error = refusal(load_adapter, model, folder / "a")
    assert (key if key != "non_linearity" else "gelu_10") in error.what
    assert error.where == str(folder / "a")


def test_everything_that_is_wrong_with_a_config_is_said_at_once(model, folder):
    config, _ = adapter(folder)
    # Without an architecture nothing else can be read; two wrong placing fields may make a right placement.
    one_by_one = UNSUPPORTED.keys() - {"architecture", "non_linearity", "original_ln_before"}
    recorded.edit_config(config, **{key: UNSUPPORTED[key] for key in one_by_one})
    said = refusal(load_adapter, model, folder / "a").what
    assert {key for key in one_by_one if key in said} == one_by_one


@pytest.mark.parametrize("key", ["mh_adapter", "output_adapter", "reduction_factor", "non_linearity"])
def test_a_config_without_a_field_that_has_no_default_is_refused(model, folder, key):
    config, _ = adapter(folder)
    recorded.drop_config(config, key)
    assert f"{key}: it is missing" in refusal(load_adapter, model, folder / "a").what


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"shiny_new_field": 3}, "shiny_new_field: unknown field"),
        ({"key": False}, "without a key matrix"),
        ({"query": False}, "without a query matrix"),
    ],
)
def test_a_fusion_that_cannot_be_carried_over_is_refused_by_name(model, folder, values, said):
    config, _ = fusion(folder)
    names = with_adapters(model, folder)
    recorded.edit_config(config, **values)
    assert said in refusal(load_fusion, model, folder / "fusion", names).what


@pytest.mark.parametrize("part", ["a", "fusion", "head"])
@pytest.mark.parametrize(("key", "value"), [("model_type", "roberta"), ("hidden_size", 24)])
def test_files_of_another_backbone_are_refused_by_what_they_record(model, folder, part, key, value):
    names = with_adapters(model, folder) if part == "fusion" else []
    (config,) = (folder / part).glob("*.json")
    recorded.edit_json(config, **{key: value}, model_name="somebody/bert-tiny")
    load = {"a": load_adapter, "fusion": load_fusion, "head": load_head}[part]
    error = refusal(load, model, folder / part, *([names] if names else []))
    assert "trained on another backbone" in error.what
    assert f"{key}: {value} in the file" in error.what
    assert "somebody/bert-tiny" in error.hint


# --- weights --------------------------------------------------------------------------------------------------


def remove(held):
    return {
        key: value for key, value in held.items() if not key.endswith("0.output.adapters.a.adapter_up.bias")
    }


def widen(held):
    key = f"{OUTPUT}.adapters.a.adapter_up.weight"
    return held | {key: torch.zeros(16, 5)}


def extend(held):
    return held | {f"{OUTPUT}.adapters.a.adapter_norm_before.weight": torch.ones(16)}


def all_three(held):
    return extend(widen(remove(held)))


SAID = {
    remove: ["missing: encoder.layer.0.output.adapters.a.adapter_up.bias"],
    widen: ["shape of encoder.layer.0.output.adapters.a.adapter_up.weight: 16×5 in the file, 16×4 here"],
    extend: ["unexpected: encoder.layer.0.output.adapters.a.adapter_norm_before.weight"],
}
SAID[all_three] = [line for lines in list(SAID.values()) for line in lines]


@pytest.mark.parametrize("change", SAID, ids=lambda change: change.__name__)
def test_weights_that_do_not_fit_are_all_named_and_leave_nothing(model, folder, unpacked, change):
    _, weights = adapter(folder)
    recorded.edit_tensors(weights, change)
    error = refusal(load_adapter, model, folder / "a")
    assert all(line in error.what for line in SAID[change]), error
    assert load_adapter(model, unpacked / "a") == "a"
    model.set_active("a", head=load_head(model, unpacked / "head"))
    recorded.assert_logits(model, "bert", "seq_bn", "single")


@pytest.mark.parametrize("damage", ["missing", "unexpected", "shape"])
def test_a_fusions_weights_that_do_not_fit_leave_nothing(model, folder, unpacked, damage):
    names, key = with_adapters(model, folder), f"{OUTPUT}.adapter_fusion_layer.a,b,c.query.weight"
    changes = {
        "missing": lambda held: {k: v for k, v in held.items() if k != key},
        "unexpected": lambda held: held | {key.replace("query", "dense"): held[key]},
        "shape": lambda held: held | {key: held[key][:8]},
    }
    recorded.edit_tensors(fusion(folder)[1], changes[damage])
    assert damage in refusal(load_fusion, model, folder / "fusion", names).what
    assert load_fusion(model, unpacked / "fusion", names)[0] == recorded.FUSED


@pytest.mark.parametrize("damage", ["missing", "unexpected", "shape"])
def test_a_heads_weights_that_do_not_fit_leave_nothing(model, folder, unpacked, damage):
    changes = {
        "missing": lambda held: {k: v for k, v in held.items() if k != "classifier.bias"},
        "unexpected": lambda held: held | {"classifier.dense.weight": held["classifier.weight"]},
        "shape": lambda held: held | {"classifier.weight": held["classifier.weight"][:, :8].clone()},
    }
    recorded.edit_tensors(folder / "head" / "model_head.safetensors", changes[damage])
    error = refusal(load_head, model, folder / "head")
    assert ("classifier" if damage == "unexpected" else "out.") in error.what
    assert load_head(model, unpacked / "head") == "head"


def test_a_fusion_of_which_no_key_is_known_is_refused_and_never_loads_as_nothing(model, folder):
    names = with_adapters(model, folder)
    recorded.rename_tensors(fusion(folder)[1], "bert.", "base.")
    said = refusal(load_fusion, model, folder / "fusion", names).what
    assert "missing: encoder.layer.1.output.adapter_fusion_layer.a,b,c.value.weight" in said
    assert "unexpected: base.encoder" in said


# --- files ----------------------------------------------------------------------------------------------------


class Code:
    """A pickle of this touches a file when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_that_holds_code_is_refused_and_not_run(model, folder, tmp_path):
    (folder / "a" / "adapter.safetensors").unlink()
    file = folder / "a" / "pytorch_adapter.bin"
    torch.save({"weight": Code(tmp_path / "ran")}, file)
    assert "cannot be read without running code" in refusal(load_adapter, model, folder / "a").what
    file.write_bytes(pickle.dumps({"weight": Code(tmp_path / "ran")}, protocol=2))
    assert "cannot be read without running code" in refusal(load_adapter, model, folder / "a").what
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("part", ["a", "head"])
def test_weights_that_are_missing_are_named_in_both_their_forms(model, folder, part):
    (path,) = (folder / part).glob("*.safetensors")
    path.unlink()
    said = refusal({"a": load_adapter, "head": load_head}[part], model, folder / part).what
    assert path.name in said
    assert ".bin" in said


@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_a_config_that_is_no_json_object_is_refused(model, folder, content):
    adapter(folder)[0].write_text(content)
    assert refusal(load_adapter, model, folder / "a").where.endswith("adapter_config.json")


def test_a_folder_without_an_adapter_says_what_is_missing(model, folder):
    assert "adapter_config.json is missing" in refusal(load_adapter, model, folder / "base").what


def test_a_head_for_another_pooling_is_refused_with_the_setting(unpacked):
    other = AdaptedModel.from_backbone(recorded.base(unpacked, pooling="mean"))
    error = refusal(load_head, other, unpacked / "head")
    assert "'first'" in error.what
    assert "'mean'" in error.what
    assert error.hint == "backbone.pooling=first"
    load_adapter(other, unpacked / "a")  # adapters read no pooling


def test_a_fusion_of_other_adapters_is_refused(unpacked):
    def load(*names):
        places = [unpacked / name for name in names]
        return AdaptedModel.from_adapterhub(recorded.base(unpacked), places, fusion=unpacked / "fusion")

    with pytest.raises(PipelineError, match=r"made of a, b, c, and the adapters here are a, b\n"):
        load("a", "b")
    with pytest.raises(PipelineError, match="there is already adapter 'a'"):
        load("a", "a", "b")
    with pytest.raises(PipelineError, match="2 adapters need a fusion"):
        AdaptedModel.from_adapterhub(recorded.base(unpacked), [unpacked / "a", unpacked / "b"])
    assert load("b", "c", "a").active_adapters == recorded.NAMES


def test_a_hub_id_without_a_network_says_what_to_do(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(PipelineError, match="neither a folder nor to be had from the hub") as caught:
        fetch_folder("nobody/no-such-adapter-here")
    assert "path=FOLDER" in caught.value.hint
    for path in ("./nowhere", "/nowhere/at/all", "plain"):
        with pytest.raises(PipelineError, match="there is no folder"):
            fetch_folder(path)


# --- what older versions wrote, and what looks odd but is right -------------------------------------------------


def test_a_config_without_a_version_means_the_other_gelu(model, folder):
    config, _ = adapter(folder)
    for former, activation in (("gelu", "gelu_tanh"), ("gelu_orig", "gelu"), ("relu", "relu")):
        recorded.edit_config(config, non_linearity=former)
        recorded.edit_json(config, version=None)
        name = load_adapter(model, folder / "a", f"old {former}")
        assert model.adapters[name].spec.activation == activation
    recorded.edit_config(config, non_linearity="gelu")
    recorded.edit_json(config, version="3.2.1")
    load_adapter(model, folder / "a", "new")
    assert model.adapters["new"].spec.activation == "gelu"


@pytest.mark.parametrize("former", ["layer_text_task_adapters", "attention_text_task_adapters"])
def test_weights_under_their_former_names_are_the_same_weights(folder, former):
    recorded.rename_tensors(adapter(folder)[1], ".adapters.", f".{former}.")
    assert all(former in key for key in load_file(adapter(folder)[1]))
    model = recorded.single(folder, head=folder / "head")
    recorded.assert_logits(model, "bert", "seq_bn", "single")


def test_a_fusions_weights_in_layers_without_adapters_are_passed_over(folder):
    # There a fusion layer is made in every layer, and never run where the adapters are left out.
    for name in recorded.NAMES:
        recorded.edit_config(folder / name / "adapter_config.json", leave_out=[0])
        path = folder / name / "adapter.safetensors"
        recorded.edit_tensors(path, lambda held: {k: v for k, v in held.items() if ".layer.0." not in k})
    model = recorded.fused(folder)
    part = model.fusions[recorded.FUSED]
    assert [key for key, _ in part.items()] == ["ffn.1"]
    key = LAYER.format(1) + ".adapter_fusion_layer.a,b,c.query.weight"
    torch.testing.assert_close(part.at("ffn.1").query.weight.float(), load_file(fusion(folder)[1])[key])
    recorded.edit_tensors(
        fusion(folder)[1],
        lambda held: held | {f"{OUTPUT}.adapter_fusion_layer.a,b,c.dense.weight": held[key]},
    )
    with pytest.raises(PipelineError, match=r"unexpected: .*dense\.weight"):
        recorded.fused(folder)
