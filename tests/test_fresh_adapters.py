"""Adapters and their fusion trained together from scratch."""

import shutil

import pytest
import tiny

from fusion_pipeline import AdaptedModel, store
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.registry import ConfigError

pytest_plugins = ("finished",)
FRESH = ("unfreeze.adapters=true", "unfreeze.fresh=true", "adapter.width=3")


@pytest.fixture(scope="module")
def joint(made):
    """A fusion of two new adapters; one bears the name of a trained one."""
    words = ("stage=fusion", "adapters=[a,new]", f"target={made.files['a']}", "name=joint")
    made.stage(*words, *FRESH, "trainer.num_train_epochs=2")
    return made.out / "fusion" / "joint"


def test_the_artefact_holds_its_adapters_and_goes_wherever_it_is_taken(made, joint, tmp_path):
    assert sorted(path.name for path in (joint / "parents").iterdir()) == ["a", "new"]
    moved = shutil.copytree(joint, tmp_path / "joint")
    rows = tiny.said(joint)
    for found, row in zip(tiny.probabilities(AdaptedModel.load(moved), rows), rows, strict=True):
        assert found == pytest.approx(row["probabilities"], abs=2e-6)
    mine = AdaptedModel.load(joint).adapters["a"].state_dict()
    theirs = AdaptedModel.load(made.adapters / "a").adapters["a"].state_dict()
    assert mine["ffn.0.down.weight"].shape[0] == 3 != theirs["ffn.0.down.weight"].shape[0]


def test_adapters_fusion_and_head_all_learn_and_the_backbone_does_not(joint):
    model = AdaptedModel.load(joint)
    parts = [part.named_parameters() for part in (model.adapters, model.fusions, model.heads)]
    # The key's bias drops out of the softmax: nothing can teach it.
    learning = sum(p.numel() for part in parts for name, p in part if not name.endswith("key.bias"))
    assert tiny.metrics(joint)["parameters"]["trainable"] == learning


def test_one_of_its_adapters_is_an_adapter_like_any_other(made, joint):
    store.verify(joint / "parents" / "new", kind="adapter")
    words = (f"adapters=[{joint / 'parents' / 'new'}]", f"target={made.files['b']}", "trainer.max_steps=1")
    made.stage("stage=fusion", *words, "name=over-new")
    assert AdaptedModel.load(made.out / "fusion" / "over-new").active_adapters == ("new",)


def test_it_is_evaluated_and_pruned_and_gone_on_from(made, joint):
    made.stage("stage=evaluate", f"run={joint}", columns=False)
    made.stage("stage=prune", f"run={joint}", "keep=1")
    pruned = AdaptedModel.load(made.out / "fusion" / "joint-pruned")
    assert len(pruned.active_adapters) == 1
    both = f"adapters=[{joint / 'parents' / 'new'},{made.adapters / 'b'}]"
    made.stage(
        "stage=fusion", "init=joint", both, f"target={made.files['a']}", "name=on", "trainer.max_steps=1"
    )
    with pytest.raises(PipelineError, match="'a' is not the one"):
        made.stage("stage=fusion", "init=joint", "adapters=[a]", f"target={made.files['a']}", "name=x")


def test_a_missing_inner_adapter_is_never_replaced_by_one_of_its_name(made, joint, tmp_path):
    root = tmp_path / "out"
    shutil.copytree(made.adapters, root / "adapters")
    folder = shutil.copytree(joint, root / "fusion" / "joint")
    shutil.rmtree(folder / "parents")
    with pytest.raises(PipelineError, match="missing"):
        AdaptedModel.load(folder)


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("adapters=[x]", "unfreeze.adapters=false"), "fresh adapters that do not train"),
        (("adapters=[x,x]",), "two adapters are called 'x'"),
        (("adapters=[x/y]",), "cannot be the name"),
        (("adapters=[x]", "init=a"), "has trained adapters"),
    ],
)
def test_what_makes_no_sense_is_refused(made, words, match):
    with pytest.raises((PipelineError, ConfigError), match=match):
        made.stage("stage=fusion", f"target={made.files['a']}", "name=x", *FRESH, *words)
