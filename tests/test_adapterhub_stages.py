"""stage=import and stage=export: folders of AdapterHub's format become artefacts of ours, and go out again."""

import hashlib
import json
import shutil

import golden
import pytest
import recorded
import tiny
import torch
from safetensors.torch import load_file

from fusion_pipeline import AdaptedModel, store
from fusion_pipeline.errors import PipelineError

FLEX = "bert-flex"
FUSION = "a+b+c"


class Hub:
    """One folder of recorded files, and one of artefacts made of them."""

    def __init__(self, source, out):
        self.source, self.out = source, out
        self.setup, self.fusion, self.adapters = source / "setup", out / "fusion" / FUSION, out / "adapters"

    def stage(self, name, *words):
        tiny.stage(
            f"stage={name}", f"output_root={self.out}", f"backbone.path={self.source / 'base'}", *words
        )

    def bring(self, *words):
        """Imports what each of these folders holds; other words are options."""
        paths = [word for word in words if not isinstance(word, str)]
        for path in paths:
            self.stage("import", f"path={path}", *(word for word in words if isinstance(word, str)))

    def direct(self, *parts, **options):
        """The same files without a stage in between."""
        base = str(self.source / "base")
        return AdaptedModel.from_adapterhub(base, parts, **options)


def made(family, case, folder):
    return Hub(recorded.add_tokenizer(golden.unpack(family, case, folder / "source")), folder / "out")


@pytest.fixture(scope="module")
def flex(tmp_path_factory):
    """The set-up with heads that bear names, imported."""
    hub = made(FLEX, "setup", tmp_path_factory.mktemp("flex"))
    hub.bring(hub.setup)
    return hub


@pytest.fixture
def hub(tmp_path):
    """Bert's seq_bn, nothing imported yet."""
    return made("bert", "seq_bn", tmp_path)


def parts(hub):
    return [hub.source / name for name in recorded.NAMES]


def assert_equal_logits(one, other, family="bert"):
    found = recorded.logits(one, family)
    assert torch.equal(found, recorded.logits(other, family)), "not the same, bit by bit"


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- import: what becomes of each kind of folder -----------------------------------------------------------------


def test_a_setup_becomes_adapters_and_a_fusion_over_them_with_its_head(flex):
    assert store.artefacts(flex.adapters) == ["a", "b", "c"]
    assert store.artefacts(flex.out / "fusion") == [FUSION]
    manifest = store.verify(flex.fusion, kind="fusion")
    assert [parent["name"] for parent in manifest.parents] == ["a", "b", "c"]
    for parent in manifest.parents:
        weights = (flex.adapters / parent["name"] / "adapter.safetensors").read_bytes()
        assert parent["sha256"] == hashlib.sha256(weights).hexdigest()
    assert any("AdapterHub's format (adapters.1.3.0)" in note for note in manifest.notes)
    tasks = json.loads((flex.fusion / "model.json").read_text())["tasks"]
    kinds = {task["name"]: task["type"] for task in tasks}
    assert kinds == {"target": "classification", "tags": "token_classification"}
    assert not any(path.name.startswith(".") for path in flex.out.rglob("*"))


def test_the_artefacts_of_a_setup_give_the_recorded_logits_exactly_as_the_files_do(flex):
    places = [flex.setup / name for name in recorded.NAMES]
    fusion = {"fusion": flex.setup / recorded.FUSED, "head": flex.setup / "target"}
    model = AdaptedModel.load(flex.fusion)
    assert (model.active_fusion, model.active_head) == (recorded.FUSED, "target")
    assert_equal_logits(model, flex.direct(*places, **fusion))
    recorded.assert_logits(model, FLEX, "setup", "fuse.target")
    model.set_active(list(model.active_adapters), fusion=recorded.FUSED, head="tags")
    recorded.assert_logits(model, FLEX, "setup", "fuse.tags")
    alone = AdaptedModel.load(flex.adapters / "a")
    assert_equal_logits(alone, flex.direct(flex.setup / "a"))
    recorded.assert_logits(alone, FLEX, "setup", "single")


@pytest.mark.parametrize("head", ["tags", "a", ["target", "a"]], ids=str)
def test_the_heads_of_a_setup_are_the_ones_it_names(tmp_path, head):
    # `a` lies in the folder of the adapter a, whose head it is as well.
    hub = made(FLEX, "setup", tmp_path)
    recorded.edit_json(hub.setup / "adapter_setup.json", head_setup=head)
    hub.bring(hub.setup)
    saved = json.loads((hub.fusion / "model.json").read_text())["heads"]
    assert list(saved) == ([head] if isinstance(head, str) else head)
    assert list(json.loads((hub.adapters / "a" / "model.json").read_text())["heads"]) == ["a"]
    recorded.edit_json(hub.setup / "adapter_setup.json", head_setup="gone")
    with pytest.raises(PipelineError, match="heads are missing: gone"):
        hub.bring(hub.setup, "overwrite=true")


def test_names_that_no_folder_can_have_are_kept_inside_and_made_safe_outside(tmp_path):
    hub = made("bert", "seq_bn", tmp_path)
    odd = {"a": "../../x@ukp", "b": "nli/multinli", "c": "Ü c"}
    setup = tmp_path / "setup"
    for number, (name, new) in enumerate(odd.items()):
        shutil.copytree(hub.source / name, setup / str(number))
        recorded.edit_json(setup / str(number) / "adapter_config.json", name=new)
        recorded.rename_tensors(setup / str(number) / "adapter.safetensors", f".{name}.", f".{new}.")
    shutil.copytree(hub.source / "fusion", setup / "fusion")
    recorded.edit_json(setup / "fusion" / "adapter_fusion_config.json", adapter_names=list(odd.values()))
    hub.bring(setup, f"head_path={hub.source / 'head'}", "name=odd")
    assert {path.parent for path in hub.adapters.iterdir()} == {hub.adapters}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "setup", "source"]
    model = AdaptedModel.load(hub.out / "fusion" / "odd")
    assert model.active_adapters == tuple(odd.values())
    recorded.assert_logits(model, "bert", "seq_bn", "fuse")


def test_an_adapter_alone_takes_the_head_that_head_path_names(hub):
    hub.bring(hub.source / "a", f"head_path={hub.source / 'head'}")
    model = AdaptedModel.load(hub.adapters / "a")
    assert model.active_head == "a"
    assert_equal_logits(model, hub.direct(hub.source / "a", head=hub.source / "head"))
    recorded.assert_logits(model, "bert", "seq_bn", "single")


def test_a_fusion_comes_after_its_adapters_whatever_they_are_called_here(hub):
    for part, name in zip(parts(hub), ("first", "b", "c"), strict=True):
        hub.bring(part, f"name={name}")
    with pytest.raises(PipelineError, match="no artefact 'a'"):
        hub.bring(hub.source / "fusion")
    with pytest.raises(PipelineError, match="made of a, b, c, and 2 adapters are named"):
        hub.bring(hub.source / "fusion", "adapters=[first,b]")
    hub.bring(hub.source / "fusion", "adapters=[first,b,c]", f"head_path={hub.source / 'head'}", "name=fused")
    model = AdaptedModel.load(hub.out / "fusion" / "fused")
    files = {"fusion": hub.source / "fusion", "head": hub.source / "head"}
    assert_equal_logits(model, hub.direct(*parts(hub), **files))
    recorded.assert_logits(model, "bert", "seq_bn", "fuse")


def test_a_head_alone_becomes_an_artefact_that_answers_on_the_bare_backbone(hub):
    hub.bring(hub.source / "head")
    folder = hub.out / "heads" / "head"
    assert store.verify(folder).kind == "head"
    model = AdaptedModel.load(folder)
    assert model.active_adapters == ()
    assert_equal_logits(model, hub.direct(head=hub.source / "head"))
    assert len(model.predict(["w7 w8", "w9"])) == 2


def test_the_classes_can_be_named_anew(hub):
    words = (f"head_path={hub.source / 'head'}", "columns.labels=[bad,fair,good]")
    hub.bring(hub.source / "a", *words)
    model = AdaptedModel.load(hub.adapters / "a")
    assert model.head_spec("a").labels == ("bad", "fair", "good")
    recorded.assert_logits(model, "bert", "seq_bn", "single")
    with pytest.raises(PipelineError, match="has 3 classes, and 2 names are given") as caught:
        hub.bring(hub.source / "b", words[0], "columns.labels=[bad,good]")
    assert caught.value.where == "columns.labels"
    assert store.artefacts(hub.adapters) == ["a"]


def test_importing_again_changes_nothing_and_other_files_under_that_name_are_refused(hub):
    hub.bring(hub.source / "a")
    before = contents(hub.out)
    times = {path: path.stat().st_mtime_ns for path in hub.out.rglob("*")}
    hub.bring(hub.source / "a")
    assert times == {path: path.stat().st_mtime_ns for path in hub.out.rglob("*")}
    with pytest.raises(PipelineError, match=r"another artefact of this name.*weights"):
        hub.bring(hub.source / "b", "name=a")
    assert contents(hub.out) == before
    hub.bring(hub.source / "b", "name=a", "overwrite=true")
    named_a = AdaptedModel.load(hub.adapters / "a")
    assert tiny.same(
        tiny.snapshot(named_a.adapters["a"]), tiny.snapshot(hub.direct(hub.source / "b").adapters["b"])
    )


def test_a_refused_setup_leaves_no_artefact(hub):
    setup = hub.out.parent / "broken"
    for name in (*recorded.NAMES, "fusion"):
        shutil.copytree(hub.source / name, setup / name)
    recorded.edit_config(setup / "c" / "adapter_config.json", ln_before=True)
    with pytest.raises(PipelineError, match="ln_before=True"):
        hub.bring(setup)
    shutil.rmtree(setup / "c")
    with pytest.raises(PipelineError, match="the fusion's adapters are missing: c"):
        hub.bring(setup)
    (hub.out.parent / "empty").mkdir()
    with pytest.raises(PipelineError, match="nothing of AdapterHub's format is here"):
        hub.bring(hub.out.parent / "empty")
    assert not hub.out.exists()


def test_a_dry_run_of_both_directions_writes_nothing(hub, capsys):
    hub.bring(hub.source / "a", "dry_run=true")
    assert "nothing was written" in capsys.readouterr().out
    assert not hub.out.exists()
    hub.bring(hub.source / "a")
    before, output = contents(hub.out.parent), hub.out.parent / "exported"
    hub.stage("export", f"run={hub.adapters / 'a'}", f"output={output}", "dry_run=true")
    assert "nothing was written" in capsys.readouterr().out
    assert contents(hub.out.parent) == before
    recorded.edit_config(hub.source / "b" / "adapter_config.json", ln_before=True)
    with pytest.raises(PipelineError, match="ln_before"):
        hub.bring(hub.source / "b", "dry_run=true")


# --- predict and evaluate ----------------------------------------------------------------------------------------


def test_an_imported_fusion_predicts_files(flex, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"text": "w7 w8"}\n{"text": "w30"}\n')
    output = tmp_path / "said.jsonl"
    flex.stage(
        "predict", f"run={flex.fusion}", "task=target", f"input={tmp_path / 'rows.jsonl'}", f"output={output}"
    )
    said = [json.loads(line) for line in output.read_text().splitlines()]
    wanted = AdaptedModel.load(flex.fusion).predict(["w7 w8", "w30"])
    assert [row["prediction"] for row in said] == [answer.label for answer in wanted]


def test_an_imported_head_for_tokens_tags_words(flex, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"tokens": ["w7", "w8", "w30"]}\n')
    output = tmp_path / "said.jsonl"
    words = ("task=tags", f"input={tmp_path / 'rows.jsonl'}", f"output={output}")
    flex.stage("predict", f"run={flex.fusion}", *words)
    (said,) = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(said["prediction"]) == 3
    assert set(said["prediction"]) <= {f"LABEL_{number}" for number in range(4)}


def test_an_imported_fusion_is_scored_on_data_that_are_named(tmp_path):
    flex = made(FLEX, "setup", tmp_path)
    recorded.edit_json(flex.setup / "adapter_setup.json", head_setup="target")
    flex.bring(flex.setup)
    with pytest.raises(PipelineError, match="its data are not known here"):
        flex.stage("evaluate", f"run={flex.fusion}")
    labels = [f"LABEL_{number}" for number in range(3)]
    file = tiny.write_csv(
        tmp_path / "data.csv", [(f"w{5 + n} w{9 + n % 7}", labels[n % 3]) for n in range(30)]
    )
    flex.stage("evaluate", f"run={flex.fusion}", f"task={file}", *tiny.columns())
    (report,) = (flex.out / "evaluate").glob("*.json")
    assert 0 <= json.loads(report.read_text())["test"]["accuracy"] <= 1


def test_an_adapter_without_a_head_says_so_instead_of_predicting(hub):
    hub.bring(hub.source / "a")
    for name, words in (("predict", ["text=w7"]), ("evaluate", [])):
        with pytest.raises(PipelineError, match="has no head"):
            hub.stage(name, f"run={hub.adapters / 'a'}", *words)
    assert AdaptedModel.load(hub.adapters / "a").active_head is None


# --- export ------------------------------------------------------------------------------------------------------


def exported(hub, run, *words):
    """Exports an artefact, and imports the export into a folder of its own."""
    output = hub.out.parent / f"exported {run.name}"
    hub.stage("export", f"run={run}", f"output={output}", *words)
    again = Hub(hub.source, hub.out.parent / f"again {run.name}")
    again.bring(output)
    return output, again


@pytest.mark.parametrize("kind", ["adapter", "fusion", "head"])
def test_what_goes_out_and_comes_back_is_the_same_function(hub, kind):
    head = f"head_path={hub.source / 'head'}"
    if kind == "fusion":
        hub.bring(*parts(hub))
        hub.bring(hub.source / "fusion", head)
        run = hub.out / "fusion" / FUSION
    else:
        hub.bring(hub.source / ("a" if kind == "adapter" else "head"), *([head] if kind == "adapter" else []))
        run = hub.adapters / "a" if kind == "adapter" else hub.out / "heads" / "head"
    before = contents(run)
    output, again = exported(hub, run)
    assert contents(run) == before
    assert any(output.rglob("*.bin"))
    assert any(output.rglob("*.safetensors"))
    back = AdaptedModel.load(again.out / run.relative_to(hub.out))
    wanted = AdaptedModel.load(run)
    assert recorded.logits(wanted).abs().max() > 0.1
    torch.testing.assert_close(recorded.logits(back), recorded.logits(wanted), **recorded.EXACT)
    if kind == "fusion":
        assert (output / "adapter_setup.json").is_file()
        (weights,) = (output / recorded.FUSED).glob("*.safetensors")
        theirs = load_file(hub.source / "fusion" / "model_adapter_fusion.safetensors")
        assert tiny.same(load_file(weights), theirs)


def test_a_folder_that_is_no_export_is_refused_and_not_touched(hub):
    hub.bring(hub.source / "a")
    for make, word in (
        ("folder", "overwrite=true"),
        ("folder", "overwrite=false"),
        ("file", "overwrite=true"),
    ):
        output = hub.out.parent / f"{make} of mine"
        if make == "file":
            output.write_text("mine")
        else:
            output.mkdir(exist_ok=True)
            (output / "thesis.tex").write_text("mine")
        before = contents(hub.out.parent)
        with pytest.raises(PipelineError, match="something that is no export"):
            hub.stage("export", f"run={hub.adapters / 'a'}", f"output={output}", word)
        assert contents(hub.out.parent) == before


def test_a_former_export_is_replaced_whole_and_only_when_asked(hub):
    hub.bring(hub.source / "a", hub.source / "b")
    output = hub.out.parent / "exported"
    output.mkdir()  # empty: as good as not there
    hub.stage("export", f"run={hub.adapters / 'a'}", f"output={output}")
    (output / "old.txt").write_text("of the former export")
    before = contents(output)
    words = ("export", f"run={hub.adapters / 'b'}", f"output={output}")
    with pytest.raises(PipelineError, match="an export lies here already"):
        hub.stage(*words)
    assert contents(output) == before
    # What an export leaves that is killed in the middle of replacing another.
    for word in ("writing", "former"):
        shutil.copytree(output, output.with_name(f".exported.{word}"))
    hub.stage(*words, "overwrite=true")
    assert json.loads((output / "adapter_config.json").read_text())["name"] == "b"
    assert not (output / "old.txt").exists()
    assert not list(output.parent.glob(".exported*"))


def test_a_fusion_of_parallel_adapters_that_came_from_there_goes_back(tmp_path):
    hub = made("bert", "par_bn", tmp_path)
    hub.bring(*parts(hub))
    hub.bring(hub.source / "fusion", f"head_path={hub.source / 'head'}")
    notes = store.verify(hub.fusion).notes
    assert any("the residual is added twice, as there" in note for note in notes)
    _, again = exported(hub, hub.fusion)
    for folder in (hub.fusion, again.fusion):
        recorded.assert_logits(AdaptedModel.load(folder), "bert", "par_bn", "fuse")


# --- what was trained here -----------------------------------------------------------------------------------------


def trained(root, *words):
    """Two adapters and a fusion of them, trained here on a backbone that lies in no folder."""
    files = [tiny.write_csv(root / f"{name}.csv", tiny.rows(24, seed=n)) for n, name in enumerate("ab")]
    shared = (f"output_root={root / 'out'}", *tiny.columns(), *words)
    for file in files:
        tiny.stage("stage=adapters", f"task={file}", *shared)
    tiny.stage("stage=fusion", "adapters=[a,b]", f"target={files[0]}", "fusion.temperature=3", *shared)
    return root / "out" / "fusion" / "a"


def test_a_temperature_goes_out_in_the_query_and_the_function_stays(tmp_path):
    run = trained(tmp_path)
    wanted = AdaptedModel.load(run)
    for _, site in wanted.fusions[str(wanted.active_fusion)].items():
        assert site.spec.temperature == 3
    tiny.stage("stage=export", f"run={run}", f"output={tmp_path / 'exported'}")
    config = json.loads((tmp_path / "exported" / "a,b" / "adapter_fusion_config.json").read_text())["config"]
    assert config["temperature"] is False
    again = (f"output_root={tmp_path / 'again'}", "columns.labels=[no,yes]")
    tiny.stage("stage=import", f"path={tmp_path / 'exported'}", *again)
    back = AdaptedModel.load(tmp_path / "again" / "fusion" / "a+b")
    texts = [text for text, _ in tiny.rows(6, seed=9)]
    for one, other in zip(
        wanted.double().predict(texts, fusion_weights=True),
        back.double().predict(texts, fusion_weights=True),
        strict=True,
    ):
        assert other.probabilities == pytest.approx(one.probabilities, abs=1e-7)
        for site, weights in one.fusion_weights.items():
            assert other.fusion_weights[site] == pytest.approx(weights, abs=1e-6)


def test_a_fusion_over_parallel_adapters_trained_here_is_not_the_librarys_and_stays(tmp_path):
    run = trained(tmp_path, "adapter=parallel")
    with pytest.raises(PipelineError, match="adds the residual twice over parallel adapters") as caught:
        tiny.stage("stage=export", f"run={run}", f"output={tmp_path / 'exported'}")
    assert "one by one" in caught.value.hint
    assert not list(tmp_path.glob("*exported*"))
    tiny.stage("stage=export", f"run={tmp_path / 'out' / 'adapters' / 'b'}", f"output={tmp_path / 'b only'}")
    assert (tmp_path / "b only" / "adapter_config.json").is_file()
