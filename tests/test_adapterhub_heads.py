"""Flexible heads, set-ups and bare models of AdapterHub's `adapters`: the recorded logits from each."""

import golden
import pytest
import recorded
import torch
from safetensors.torch import load_file, save_file

from fusion_pipeline import AdaptedModel
from fusion_pipeline.interop.adapterhub import load_head

FLEX = "bert-flex"
SETUP = "setup"


@pytest.fixture(params=[False, True], ids=["safetensors", "pickled"])
def setup(request, tmp_path):
    """The folder of the set-up, and the backbone beside it."""
    golden.unpack(FLEX, SETUP, tmp_path, pickled=request.param)
    assert any(tmp_path.rglob("*.bin")) == request.param
    return tmp_path


def with_head(folder, head):
    setup = folder / SETUP
    places = [setup / name for name in recorded.NAMES]
    base, fusion = recorded.base(folder), setup / recorded.FUSED
    return AdaptedModel.from_adapterhub(base, places, fusion=fusion, head=setup / head).double()


def test_an_adapter_brings_the_head_saved_beside_it(setup):
    model = AdaptedModel.from_adapterhub(recorded.base(setup), [setup / SETUP / "a"])
    assert model.heads.names() == [model.active_head] == ["a"]
    recorded.assert_logits(model, FLEX, SETUP, "single")


@pytest.mark.parametrize("head", ["target", "tags"])
def test_a_fusion_answers_with_the_named_head(setup, head):
    model = with_head(setup, head)
    assert model.active_head == head
    recorded.assert_logits(model, FLEX, SETUP, f"fuse.{head}")
    assert model.head_spec(head).type == ("tokens" if head == "tags" else "classification")


def renamed_head(source, folder, name, *, scale=1.0, beside=()):
    """A saved head under another name; `beside` are heads that the same file holds too."""
    folder.mkdir()
    held = load_file(source / "model_head.safetensors")
    tensors = {}
    for number, each in enumerate((name, *beside)):
        for key, value in held.items():
            own = scale if each == name else 100.0 + number
            tensors[key.replace("heads.target", f"heads.{each}")] = own * value
    save_file(tensors, folder / "model_head.safetensors")
    (folder / "head_config.json").write_text((source / "head_config.json").read_text())
    recorded.edit_json(folder / "head_config.json", name=name)
    return folder


@pytest.mark.parametrize("beside", [(), ("cb2", "cb_old")], ids=["alone", "with others in its file"])
def test_heads_whose_names_begin_alike_do_not_mix(tmp_path, beside):
    # That library writes `cb2` into the file of `cb` too, and reads both from it.
    golden.unpack(FLEX, SETUP, tmp_path)
    source, wanted = tmp_path / SETUP / "target", golden.expected(FLEX, SETUP)["fuse.target/logits"]
    model = with_head(tmp_path, "tags")
    load_head(model, renamed_head(source, tmp_path / "one", "cb", beside=beside))
    load_head(model, renamed_head(source, tmp_path / "two", "cb2", scale=2.0))
    assert model.heads.names() == ["tags", "cb", "cb2"]
    for name, factor in (("cb", 1.0), ("cb2", 2.0), ("cb", 1.0)):
        found = recorded.logits(model, FLEX, task=name)
        torch.testing.assert_close(found, factor * wanted, **recorded.EXACT)


def strip(folder):
    """The files as a model without a head saves them: no key begins with the base model's name."""
    paths = [path for path in folder.rglob("*.safetensors") if path.parent.name not in ("base", "head")]
    assert len(paths) == 4
    for path in paths:
        assert all(key.startswith("bert.") for key in load_file(path))
        recorded.edit_tensors(
            path, lambda held: {key.removeprefix("bert."): value for key, value in held.items()}
        )


@pytest.mark.parametrize("case", ["seq_bn", "double_seq_bn"])
def test_files_saved_from_a_bare_model_give_the_same_numbers(tmp_path, case):
    golden.unpack("bert", case, tmp_path)
    strip(tmp_path)
    model = recorded.fused(tmp_path)
    recorded.assert_logits(model, "bert", case, "fuse")
    model.set_active("a")
    recorded.assert_logits(model, "bert", case, "single")


def test_a_longer_fusion_in_the_same_file_is_passed_over(tmp_path):
    # That library writes the fusion of a, b, c, d into the file of a, b, c too.
    golden.unpack("bert", "seq_bn", tmp_path)

    def with_another(held):
        return held | {key.replace("a,b,c", "a,b,c,d"): -value for key, value in held.items()}

    recorded.edit_tensors(tmp_path / "fusion" / "model_adapter_fusion.safetensors", with_another)
    recorded.assert_logits(recorded.fused(tmp_path), "bert", "seq_bn", "fuse")
