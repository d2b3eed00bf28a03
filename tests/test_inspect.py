"""stage=inspect through the command line: its figures are the model's, its folder is whole, its refusals are clear."""

import json

import numpy as np
import pytest
import tiny
import torch
from inspected import looked

from fusion_pipeline import AdaptedModel, registry, store
from fusion_pipeline.errors import PipelineError

pytest_plugins = ("loud",)


@pytest.fixture(scope="module")
def found(loud):
    return looked(loud, None, "inspect.sentences=4", "inspect.pictures=true", name="plain")


@pytest.fixture(scope="module")
def rows(loud):
    """The validation rows of the fusion's own data."""
    from fusion_pipeline.tasks.data import load_task
    from fusion_pipeline.tasks.spec import ColumnsSpec, DataSpec

    columns = ColumnsSpec(text="text", label="label")
    return load_task(str(loud.files["a"]), data=DataSpec(), columns=columns).splits["validation"]


def weights_of(model, text):
    """{site: (tokens, adapters)} of one text, without padding."""
    given = model.info.tokenizer([text], return_tensors="pt")
    with torch.no_grad():
        out = model(
            input_ids=given["input_ids"], attention_mask=given["attention_mask"], output_fusion_weights=True
        )
    return {site: value[0].numpy() for site, value in out.fusion_weights.items()}


def test_weights_are_means_over_all_real_tokens_and_over_those_of_each_class(loud, found, rows):
    model = AdaptedModel.load(loud.fusion)
    told = found["targets"]["a"]
    each = [(row["label"], weights_of(model, row["text"])) for row in rows]
    for site in told["weights"]:
        every = np.concatenate([weights[site] for _, weights in each])
        assert list(told["weights"][site]["weights"].values()) == pytest.approx(every.mean(0), abs=1e-5)
        for number, label in enumerate(tiny.LABELS):
            mine = np.concatenate([weights[site] for of, weights in each if of == number])
            part = told["facets"]["label"][label]
            assert part["tokens"] == len(mine)
            assert list(part["sites"][site].values()) == pytest.approx(mine.mean(0), abs=1e-5)
    shares = np.concatenate([weights["ffn.0"] for _, weights in each])
    entropy = -(shares * np.log(np.maximum(shares, 1e-30))).sum(1).mean() / np.log(2)
    assert told["weights"]["ffn.0"]["normalised_entropy"] == pytest.approx(entropy, abs=1e-5)


def test_the_examples_that_listen_most_are_those_with_the_largest_mean_weight(loud, found, rows):
    model = AdaptedModel.load(loud.fusion)
    means = np.array(
        [np.mean([w.mean(0) for w in weights_of(model, row["text"]).values()], 0) for row in rows]
    )
    for column, adapter in enumerate(found["adapters"]):
        most = found["targets"]["a"]["most"][adapter]
        assert most[0]["row"] == means[:, column].argmax()
        assert [one["weight"] for one in most] == pytest.approx(sorted(means[:, column])[::-1][:5], abs=1e-5)
        assert all(one["inputs"] == [rows[one["row"]]["text"]] for one in most)


def test_the_token_view_shows_the_models_own_weights(loud, found, rows):
    model = AdaptedModel.load(loud.fusion)
    assert len(found["sentences"]) == 4
    for sentence, row in zip(found["sentences"], rows, strict=False):
        (answer,) = model.predict([row["text"]], fusion_weights=True)
        assert len(sentence["tokens"]) == len(answer.tokens)
        for site, weights in answer.fusion_weights.items():
            assert np.array(sentence["weights"][site]) == pytest.approx(weights, abs=1e-6)
            assert sentence["names"][site] == list(answer.adapters)
        assert sentence["said"].startswith(answer.label)


def test_leaving_an_adapter_out_is_evaluating_without_it(loud, found):
    effects = found["targets"]["a"]["effects"]
    words = ("stage=evaluate", f"run={loud.fusion}", "name=subset")
    for left in found["adapters"]:
        loud.stage(*words, f"adapters=[{left}]", columns=False)
        alone = json.loads((loud.out / "evaluate" / "subset.json").read_text())["validation"]
        (other,) = set(found["adapters"]) - {left}
        for told in (effects["alone"][left], effects["without"][other]):
            assert told["metric"] == pytest.approx(alone["accuracy"])
            assert told["loss"] == pytest.approx(alone["loss"], abs=1e-6)
            assert told["difference"] == pytest.approx(told["metric"] - effects["all"]["metric"])
            assert told["low"] <= told["difference"] + 1e-9
            assert told["difference"] <= told["high"] + 1e-9
            count = found["targets"]["a"]["examples"]
            assert (told["better"] - told["worse"]) / count == pytest.approx(told["difference"])
    whole = tiny.metrics(loud.fusion)["validation"]
    assert effects["all"] == pytest.approx({"metric": whole["accuracy"], "loss": whole["loss"]})


def test_the_artefact_stays_as_it_is_and_the_folder_is_whole(loud, found):
    before = {path: path.stat().st_mtime_ns for path in loud.fusion.rglob("*")}
    looked(loud, None, "inspect.pictures=true", name="again")
    assert {path: path.stat().st_mtime_ns for path in loud.fusion.rglob("*")} == before
    store.verify(loud.fusion)
    folder = loud.out / "inspect" / "plain"
    names = {path.name for path in folder.iterdir()}
    pictures = {"weights", "entropy", "by_label-a", "training", "training_by_site", "effects", "redundancy"}
    assert names == {"inspect.json", "inspect.md", "inspect.html", *(f"{name}.png" for name in pictures)}
    assert all((folder / f"{name}.png").read_bytes().startswith(b"\x89PNG") for name in pictures)
    text = (folder / "inspect.md").read_text()
    assert all(f"({name}.png)" in text for name in pictures)
    assert found["history"][-1]["tasks"].keys() == {"a"}
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".plain")]


def test_a_former_inspection_is_replaced_and_anything_else_is_not(loud):
    folder = loud.out / "inspect" / "mine"
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(PipelineError, match="no former report"):
        looked(loud, None, "inspect.effects=false", name="mine")
    assert (folder / "thesis.txt").read_text() == "years of work"
    looked(loud, None, "inspect.effects=false", name="twice")
    stale = loud.out / "inspect" / "twice" / "stale.png"
    stale.write_text("")
    looked(loud, None, "inspect.effects=false", name="twice")
    assert not stale.exists()


def test_given_texts_are_shown_in_place_of_the_splits_examples(loud):
    given = looked(
        loud, None, 'text=["grand lamp", "it\'s awful, bleak"]', "inspect.effects=false", name="given"
    )
    assert [one["title"] for one in given["sentences"]] == ["a", "a"]
    assert "".join(given["sentences"][1]["tokens"]).replace(" ", "").find("awful") >= 0
    literal = looked(loud, None, "text=[sic] a [", "inspect.effects=false", name="literal")
    assert len(literal["sentences"]) == 1
    model = AdaptedModel.load(loud.fusion)
    assert len(literal["sentences"][0]["tokens"]) == len(model.info.tokenizer("[sic] a [")["input_ids"])
    with pytest.raises(PipelineError, match="no head reads pairs of texts"):
        looked(loud, None, "text=one", "text_pair=two", name="pair")
    with pytest.raises(PipelineError, match="2 texts and text_pair= 1"):
        looked(loud, None, "text=[one, two]", "text_pair=three", name="pair")


def test_a_limit_draws_rows_and_other_splits_can_be_looked_at(loud):
    drawn = looked(loud, None, "inspect.limit=5", "inspect.split=train", name="train")
    assert drawn["targets"]["a"]["examples"] == 5
    assert drawn["split"] == "train"
    rows = {one["row"] for several in drawn["targets"]["a"]["most"].values() for one in several}
    assert len(rows) == 5
    assert max(rows) > 4
    again = looked(loud, None, "inspect.limit=5", "inspect.split=train", name="train")
    assert again["targets"] == drawn["targets"]


@pytest.mark.parametrize("name", registry.options("fusion"))
def test_every_fusion_is_inspected(loud, name):
    words = ("adapters=[a,b]", f"target={loud.files['a']}", f"name=i-{name}", "trainer.max_steps=2")
    loud.stage("stage=fusion", f"fusion={name}", *words)
    told = looked(loud, loud.out / "fusion" / f"i-{name}", "inspect.limit=16")
    target = told["targets"]["a"]
    sums = [sum(site["weights"].values()) for site in target["weights"].values()]
    if told["sums_to_one"]:
        assert sums == pytest.approx([1.0] * len(sums), abs=1e-4)
    moving = max(np.ptp(np.array(w), axis=0).max() for s in told["sentences"] for w in s["weights"].values())
    assert (target["most"] is None) == (moving == 0), moving
    assert set(target["effects"]["without"]) == {"a", "b"}


@pytest.mark.parametrize("run", ["adapters/a"])
def test_a_plain_adapter_is_told_what_to_run_instead(loud, run):
    with pytest.raises(PipelineError, match=r"no fusion.*\n.*\n.*stage=fusion adapters=\[a"):
        loud.stage("stage=inspect", f"run={loud.out / run}")


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("inspect.split=dev",), "no split 'dev'"),
        (("inspect.limit=0",), "inspect.limit=0 is out of range"),
        (("inspect.resamples=3",), "inspect.resamples=3 is out of range"),
        (("inspect.effects=maybe",), "not true or false"),
    ],
)
def test_wrong_settings_are_refused(loud, words, match):
    with pytest.raises(PipelineError, match=match):
        loud.stage("stage=inspect", f"run={loud.fusion}", *words, columns=False)


def test_a_dry_run_writes_nothing(loud, capsys):
    loud.stage("stage=inspect", f"run={loud.fusion}", "name=dry", "dry_run=true", columns=False)
    assert "nothing was looked at" in capsys.readouterr().out
    assert not (loud.out / "inspect" / "dry").exists()
