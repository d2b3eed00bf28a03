"""Fusions that go on from former ones: what is carried over, what old targets are told, what is refused."""

import json
import shutil

import pytest
import tiny
from safetensors.torch import load_file

from fusion_pipeline import AdaptedModel, registry
from fusion_pipeline.errors import PipelineError

pytest_plugins = ("finished",)
STILL = ("trainer.max_steps=1", "trainer.learning_rate=1e-12", "trainer.weight_decay=0")


@pytest.fixture(scope="module")
def three(made):
    """A third adapter beside the two."""
    made.stage("stage=adapters", f"task={made.files['b']}", "name=c", "trainer.max_steps=2")
    return made


@pytest.mark.parametrize("kind", [name for name in registry.options("fusion") if name != "hierarchical"])
def test_an_added_adapter_leaves_what_the_others_had(three, kind):
    same = (f"fusion={kind}", f"target={three.files['a']}")
    three.stage("stage=fusion", *same, "adapters=[a,b]", f"name=of-{kind}", "trainer.max_steps=2")
    three.stage("stage=fusion", *same, "adapters=[c,b,a]", f"name=on-{kind}", f"init=of-{kind}", *STILL)
    old, new = (three.out / "fusion" / f"{word}-{kind}" for word in ("of", "on"))
    rows = tiny.said(old)
    said = [tiny.probabilities(AdaptedModel.load(folder, adapters=["a", "b"]), rows) for folder in (old, new)]
    for one, other in zip(*said, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    told = tiny.metrics(new)["old_targets"]["a"]
    assert told["before"] == pytest.approx(tiny.metrics(old)["validation"]["accuracy"])


def test_a_removed_adapter_is_gone(three):
    three.stage("stage=fusion", f"target={three.files['a']}", "adapters=[b]", "name=less", "init=a", *STILL)
    assert AdaptedModel.load(three.out / "fusion" / "less").active_adapters == ("b",)


def test_a_new_target_keeps_the_old_head_untouched_and_says_what_it_scores_now(three, capsys):
    three.stage(
        "stage=fusion",
        f"target={three.files['b']}",
        "adapters=[a,b,c]",
        "name=next",
        "init=a",
        "trainer.max_steps=3",
    )
    assert "old target" in capsys.readouterr().out
    folder = three.out / "fusion" / "next"
    before, after = (load_file(path / "heads.safetensors") for path in (three.fusion, folder))
    assert tiny.same(before, {key: value for key, value in after.items() if key.startswith("a/")})
    assert any(key.startswith("b/") for key in after)
    three.stage("stage=evaluate", f"run={folder}", columns=False)
    found = json.loads((three.out / "evaluate" / "fusion-next.json").read_text())["validation"]
    metrics = tiny.metrics(folder)
    assert found["a/accuracy"] == pytest.approx(metrics["old_targets"]["a"]["after"])
    assert found["b/accuracy"] == pytest.approx(metrics["validation"]["accuracy"])


def test_adapters_that_were_tuned_are_carried_over_tuned(three):
    words = (f"target={three.files['a']}", "adapters=[a,b]")
    tuned = ("unfreeze.adapters=true", "unfreeze.learning_rate=0.01", "trainer.max_steps=2")
    three.stage("stage=fusion", *words, "name=tuned_before", *tuned)
    three.stage("stage=fusion", *words, "name=after-tuned", "init=tuned_before", *STILL)
    one, other = (AdaptedModel.load(three.out / "fusion" / name) for name in ("tuned_before", "after-tuned"))
    assert tiny.same(one.adapters.state_dict(), other.adapters.state_dict())


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("fusion=linear",), "is a fusion=adapterfusion"),
        (("fusion.temperature=2",), r"other settings: fusion\.temperature"),
        (("backbone.random=roberta",), "trained on another backbone"),
        (("init=nothing",), "no artefact 'nothing'"),
    ],
)
def test_what_does_not_fit_is_refused(made, words, match):
    with pytest.raises(PipelineError, match=match):
        made.stage("stage=fusion", "init=a", "adapters=[a,b]", f"target={made.files['a']}", "name=x", *words)


def test_adapters_at_other_sites_are_refused(made):
    made.stage(
        "stage=adapters", f"task={made.files['a']}", "adapter=houlsby", "name=h", "trainer.max_steps=1"
    )
    with pytest.raises(PipelineError, match="fuses adapters at ffn"):
        made.stage("stage=fusion", "init=a", "adapters=[h]", f"target={made.files['a']}", "name=x")


def test_another_adapter_of_the_same_name_is_refused(copied):
    shutil.copytree(copied.adapters / "b", copied.fusion / "parents" / "b")
    copied.stage(
        "stage=adapters", f"task={copied.files['b']}", "seed=5", "overwrite=true", "trainer.max_steps=1"
    )
    with pytest.raises(PipelineError, match="'b' is not the one"):
        copied.stage("stage=fusion", "init=a", "adapters=[a,b]", f"target={copied.files['a']}", "name=x")
