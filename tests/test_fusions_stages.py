"""Every installed fusion through the real stages: trained, drawn, loaded, evaluated, asked in full and in part."""

import json

import pytest
import tiny

from fusion_pipeline import AdaptedModel, registry
from fusion_pipeline.errors import PipelineError

pytest_plugins = ("finished",)


@pytest.mark.parametrize("name", registry.options("fusion"))
def test_a_fusion_trains_three_steps_and_its_artefact_is_loaded_and_asked(made, name):
    made.stage(
        "stage=fusion",
        f"fusion={name}",
        "adapters=[a,b]",
        f"target={made.files['a']}",
        f"name={name}",
        "trainer.max_steps=3",
    )
    folder = made.out / "fusion" / name
    rows = tiny.said(folder)
    model = AdaptedModel.load(folder)
    for found, row in zip(tiny.probabilities(model, rows), rows, strict=True):
        assert found == pytest.approx(row["probabilities"], abs=2e-6)
    weights = json.loads((folder / "fusion_weights.json").read_text())["validation"]["a"]
    assert all(set(site["weights"]) == {"a", "b"} for site in weights.values())
    assert all(0 <= site["entropy"] < 0.7 for site in weights.values())
    assert (folder / "fusion_weights.png").read_bytes().startswith(b"\x89PNG")
    one = model.predict([rows[0]["text"]], adapters=["b"], fusion_weights=True)[0]
    assert one.adapters == ("b",)
    assert (
        one.probabilities
        == AdaptedModel.load(folder, adapters=["b"]).predict([rows[0]["text"]])[0].probabilities
    )


def test_options_of_every_kind_are_set_on_the_command_line_and_come_back(made):
    made.stage(
        "stage=fusion",
        "fusion=hierarchical",
        "fusion.groups={first: [b], second: [a]}",
        "fusion.outer=weighted",
        "fusion.outer_options={shared: true}",
        "adapters=[a,b]",
        f"target={made.files['a']}",
        "name=grouped",
        "trainer.max_steps=1",
    )
    model = AdaptedModel.load(made.out / "fusion" / "grouped")
    assert model.fusions["grouped"].spec.groups == {"first": ["b"], "second": ["a"]}
    assert list(model.fusions["grouped"].state_dict()) == ["common.outer.logits.values"]


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (("fusion=router", "fusion.k=3"), "fusion.k"),
        (("fusion=hierarchical", "fusion.groups={g: [a, c]}"), "fusion.groups"),
        (("fusion=adapterfusion", "fusion.heads=7"), "fusion.heads"),
        (("fusion=gating", "fusion.gate=hard"), "fusion.gate"),
    ],
)
def test_nonsense_stops_a_dry_run(made, words, where):
    with pytest.raises(PipelineError) as caught:
        made.stage(
            "stage=fusion", *words, "adapters=[a,b]", f"target={made.files['a']}", "name=x", "dry_run=true"
        )
    assert caught.value.where == where


def test_several_heads_are_not_exported_to_a_format_that_has_one(made, tmp_path):
    words = ("adapters=[a,b]", f"target={made.files['a']}", "name=heads", "trainer.max_steps=1")
    made.stage("stage=fusion", "fusion.heads=2", *words)
    run = f"run={made.out / 'fusion' / 'heads'}"
    with pytest.raises(PipelineError, match="has one head, and this one has 2"):
        made.stage("stage=export", "format=adapterhub", run, f"output={tmp_path / 'hub'}", columns=False)
