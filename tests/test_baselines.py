"""Every baseline, by its property: what trains, where it starts, what it leaves, and what is refused."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file

from fusion_pipeline import AdaptedModel, registry, store
from fusion_pipeline.backbone import fingerprint
from fusion_pipeline.baselines import prompted
from fusion_pipeline.baselines.joint import selected_by
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.registry import ConfigError
from fusion_pipeline.training.arguments import TrainerSpec
from fusion_pipeline.training.fit import build_trainer, fit
from fusion_pipeline.training.trainer import PipelineTrainer
from fusion_pipeline.workflow import Training

pytest_plugins = ("bench",)
SOURCES = "adapters=[sentiment,nli]"
PAIR = ("The lamp was fine.", "The lamp was awful.")
HERE = Path(__file__).resolve().parent
ELSEWHERE = """
import json, sys, tiny
from fusion_pipeline import AdaptedModel
model = AdaptedModel.load(sys.argv[1])
print(json.dumps(model(**tiny.inputs(model)).logits.tolist()))
"""
HOT = ("trainer.learning_rate=1e-2", "trainer.num_train_epochs=2")


@dataclass(frozen=True)
class OnlyTrainer:
    """Of a run's specs, what a selection looks at."""

    trainer: TrainerSpec


# --- all of them ------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def trained(bench):
    """{kind: folder} of every baseline there is."""
    return {kind: bench.train(kind, SOURCES, *HOT) for kind in registry.options("baseline")}


@pytest.mark.parametrize("kind", registry.options("baseline"))
def test_every_baseline_leaves_an_artefact_that_scores_the_same_and_predicts(bench, trained, kind, capsys):
    folder = trained[kind]
    store.verify(folder)
    metrics, rows = tiny.metrics(folder), tiny.said(folder)
    bench("stage=evaluate", f"run={folder}", f"name={kind}")
    again = json.loads((bench.out / "evaluate" / f"{kind}.json").read_text())
    for split in ("validation", "test"):
        for name, value in metrics[split].items():
            assert again[split][name] == pytest.approx(value, abs=1e-5), name
    rows = [row for row in rows if row["task"] == "review_check"]
    model = AdaptedModel.load(folder)
    said = model.predict([(row["text"], row["text_pair"]) for row in rows], task="review_check")
    assert len(rows) == 16
    for row, answer in zip(rows, said, strict=True):
        assert answer.probabilities == pytest.approx(row["probabilities"], abs=1e-5)
    capsys.readouterr()
    bench("stage=predict", f"run={folder}", "task=review_check", f"text={PAIR[0]}", f"text_pair={PAIR[1]}")
    assert "supported" in capsys.readouterr().out
    card = (folder / "README.md").read_text()
    assert "review_check" in card.split("##")[0]


@pytest.mark.parametrize("kind", registry.options("baseline"))
def test_every_baseline_is_there_already_the_second_time_and_refuses_other_settings(
    bench, trained, kind, capsys
):
    before = (trained[kind] / "manifest.json").read_bytes()
    bench.train(kind, SOURCES, *HOT)
    assert "is there already" in capsys.readouterr().out
    with pytest.raises(PipelineError, match="made with other settings"):
        bench.train(kind, SOURCES, *HOT, "seed=1")
    assert (trained[kind] / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("kind", registry.options("baseline"))
def test_a_dry_run_of_every_baseline_checks_all_and_writes_nothing(bench, kind, capsys):
    folder = bench.train(kind, SOURCES, "dry_run=true", name=f"dry-{kind}")
    assert "nothing was trained" in capsys.readouterr().out
    assert not folder.exists()
    assert not folder.with_name(f".dry-{kind}.work").exists()


# --- one by one -------------------------------------------------------------------------------------------


def test_head_only_leaves_the_backbone_as_it_is_and_trains_as_if_it_ran_anew(bench, monkeypatch):
    words = (*HOT, "trainer.num_train_epochs=3", "head.dropout=0")
    kept = bench.train("head_only", *words, name="kept")
    assert AdaptedModel.load(kept).info.fingerprint == tiny.adapted().info.fingerprint
    assert tiny.metrics(kept)["parameters"]["trainable"] == sum(
        t.numel() for t in load_file(kept / "heads.safetensors").values()
    )
    fit_spec = Training.fit_spec
    monkeypatch.setattr(
        Training,
        "fit_spec",
        lambda self, *args: _without_reuse(fit_spec(self, *args)),
    )
    anew = bench.train("head_only", *words, name="anew")
    ours, theirs = (load_file(folder / "heads.safetensors") for folder in (kept, anew))
    start = tiny.adapted()
    for key, value in ours.items():
        torch.testing.assert_close(value, theirs[key], rtol=1e-4, atol=1e-6)
    assert ours["review_check/out.bias"].abs().max() > 1e-3, "nothing was learned"
    assert fingerprint(start.backbone) == start.info.fingerprint


def _without_reuse(spec):
    assert spec.reuse_features
    return replace(spec, reuse_features=False)


def test_full_trains_the_backbone_and_another_process_loads_the_same_model(trained):
    folder = trained["full"]
    model, bare = AdaptedModel.load(folder), tiny.adapted()
    changed = {
        name: not torch.equal(value, model.backbone.state_dict()[name])
        for name, value in bare.backbone.state_dict().items()
    }
    still = {name for name, moved in changed.items() if not moved}
    assert still == {name for name in changed if name.startswith("pooler.")}, (
        "all but the pooler, which nothing reads"
    )
    assert not any(p.requires_grad for p in model.parameters())
    with torch.no_grad():
        logits = model(**tiny.inputs(model), task="review_check").logits
    path = os.pathsep.join([str(HERE), str(HERE.parent)])
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(folder)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert torch.equal(torch.tensor(json.loads(done.stdout.splitlines()[-1])), logits)


def test_weight_decay_spares_norms_and_biases_of_a_whole_model(tmp_path):
    model = tiny.adapted()
    task = tiny.task_data("a")
    tiny.add_head(model, "a")
    model.set_active(None, head="a")
    model.train_only(heads=["a"], backbone=True)
    spec = tiny.fit_spec(tmp_path, weight_decay=0.1)
    trainer, _ = build_trainer(model, [task.spec], tiny.encoded(model, task), spec)
    names = {id(p): name for name, p in model.named_parameters()}
    groups = {
        group["weight_decay"]: {names[id(p)] for p in group["params"]}
        for group in trainer.create_optimizer().param_groups
    }
    assert all(name.endswith("weight") and "norm" not in name.lower() for name in groups[0.1])
    assert all(name.endswith("bias") or "norm" in name.lower() for name in groups[0.0])
    assert len(groups[0.0]) + len(groups[0.1]) == sum(p.requires_grad for p in model.parameters())


def test_a_frozen_backbone_is_frozen_again_after_it_was_trained():
    model = tiny.adapted()
    tiny.add_head(model)
    model.train_only(heads=["task"], backbone=True)
    assert any(p.requires_grad for p in model.backbone.parameters())
    model.train_only(heads=["task"])
    assert not any(p.requires_grad for p in model.backbone.parameters())


def test_single_is_what_stage_1_trains(bench, trained):
    bench("stage=adapters", "task=review_check", "name=own", *HOT)
    for name in ("adapter", "heads"):
        ours, theirs = (
            load_file(folder / f"{name}.safetensors")
            for folder in (trained["single"], bench.out / "adapters/own")
        )
        assert tiny.same(ours, theirs)


def test_average_is_the_fusion_average(bench, trained):
    bench("stage=fusion", "fusion=average", SOURCES, "target=review_check", "name=mean", *HOT)
    ours, theirs = (
        load_file(folder / "heads.safetensors")
        for folder in (trained["average"], bench.out / "fusion" / "mean")
    )
    assert tiny.same(ours, theirs)
    assert tiny.metrics(trained["average"])["test"] == tiny.metrics(bench.out / "fusion" / "mean")["test"]


# --- sequential -------------------------------------------------------------------------------------------


def started(bench, *words, target="review_check", **values):
    """A sequential baseline after a training that moves nothing."""
    return bench.train(
        "sequential", "trainer.learning_rate=1e-30", "trainer.max_steps=1", *words, target=target, **values
    )


def test_sequential_starts_exactly_at_its_source(bench):
    folder = started(bench, "adapters=[nli]", name="start")
    ours, source = AdaptedModel.load(folder), AdaptedModel.load(bench.out / "adapters" / "nli")
    batch = tiny.inputs(ours)
    with torch.no_grad():
        found, wanted = (model(**batch, output_hidden_states=True).hidden_states for model in (ours, source))
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))
    assert tiny.same(
        load_file(folder / "adapter.safetensors"),
        load_file(bench.out / "adapters" / "nli" / "adapter.safetensors"),
    )
    assert tiny.metrics(folder)["sources"]["nli"]["head"] == "fresh"


def test_sequential_goes_on_with_the_sources_head_where_labels_are_the_same(bench, tmp_path):
    data = tiny.write_csv(
        tmp_path / "own.csv", [(f"a lamp {n}", ("positive", "negative")[n % 2]) for n in range(40)]
    )
    source = AdaptedModel.load(bench.out / "adapters" / "sentiment")
    theirs = source.predict(["a lamp", "a fine day"])
    for labels in ("[negative,positive]", "[positive,negative]"):
        words = ("adapters=[sentiment]", *tiny.columns(), f"columns.labels={labels}")
        folder = started(bench, *words, target=str(data), name=f"head-{labels[1:4]}")
        assert tiny.metrics(folder)["sources"]["sentiment"]["head"] == "source"
        ours = AdaptedModel.load(folder).predict(["a lamp", "a fine day"])
        for one, other in zip(ours, theirs, strict=True):
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-12)
    fresh = started(
        bench,
        "adapters=[sentiment]",
        *tiny.columns(),
        "baseline.head=fresh",
        target=str(data),
        name="head-fresh",
    )
    assert tiny.metrics(fresh)["sources"]["sentiment"]["head"] == "fresh"


def test_sequential_keeps_the_source_that_is_best_on_validation_and_says_what_the_others_came_to(
    bench, trained
):
    metrics = tiny.metrics(trained["sequential"])
    sources = metrics["sources"]
    assert list(sources) == ["sentiment", "nli"]
    scores = {name: told["validation"]["accuracy"] for name, told in sources.items()}
    chosen = [name for name, told in sources.items() if told["chosen"]]
    assert chosen == [max(scores, key=scores.__getitem__)]
    assert metrics["validation"] == sources[chosen[0]]["validation"]
    assert metrics["seconds"] == pytest.approx(sum(told["seconds"] for told in sources.values()), abs=0.02)
    alone = bench.train("sequential", f"adapters={chosen}".replace("'", ""), *HOT, name="alone")
    for name in ("adapter", "heads"):
        ours, theirs = (
            load_file(folder / f"{name}.safetensors") for folder in (trained["sequential"], alone)
        )
        assert tiny.same(ours, theirs)
    assert f"goes on from the adapter '{chosen[0]}'" in (trained["sequential"] / "README.md").read_text()


# --- several tasks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["multitask", "multitask_adapter"])
def test_joint_training_has_a_head_for_every_task_and_says_how_each_does(trained, kind):
    folder, names = trained[kind], ["review_check", "sentiment", "nli"]
    metrics = tiny.metrics(folder)
    for split in ("validation", "test"):
        assert {f"{name}/accuracy" for name in names} <= metrics[split].keys()
    assert [entry["task"] for entry in store.Manifest.read(folder).data] == names
    model = AdaptedModel.load(folder)
    assert model.heads.names() == names
    assert model.active_head == "review_check"
    rows = tiny.said(folder)
    for name in names:
        right = [row["label"] == row["prediction"] for row in rows if row["task"] == name]
        assert sum(right) / len(right) == pytest.approx(metrics["test"][f"{name}/accuracy"])


def test_joint_training_is_selected_by_the_target_unless_the_mean_is_asked_for(tmp_path):
    model, tasks = tiny.adapted(), [tiny.task_data("a"), tiny.task_data("b", seed=1)]
    specs = OnlyTrainer(trainer=tiny.fit_spec(tmp_path).trainer)
    for task in tasks:
        tiny.add_head(model, task.spec.name)
    model.set_active(None, head="a")
    model.train_only(heads=["a", "b"], backbone=True)
    for select, key in (("target", "eval_a/accuracy"), ("mean", "eval_score")):
        chosen = selected_by(specs, select, tasks[0].spec)
        spec = replace(tiny.fit_spec(tmp_path / select), trainer=chosen.trainer)
        trainer, _ = build_trainer(model, [t.spec for t in tasks], tiny.encoded(model, *tasks), spec)
        assert f"eval_{trainer.args.metric_for_best_model.removeprefix('eval_')}" == key
        trainer.train()
        scores = [row[key] for row in trainer.state.log_history if key in row]
        assert trainer.state.best_metric == max(scores)


def test_a_shared_prompt_is_trained_on_the_sources_and_goes_on_where_it_was(bench, monkeypatch):
    seen = []

    def spied(model, tasks, splits, spec):
        prompt = model.adapters["spied"].at("input.0").tokens
        before = prompt.detach().clone()
        done = fit(model, tasks, splits, spec)
        seen.append(([task.name for task in tasks], before, prompt.detach().clone()))
        return done

    monkeypatch.setattr(prompted, "fit", spied)
    folder = bench.train("multitask_prompt", SOURCES, *HOT, "baseline.length=5", name="spied")
    (joint, start, shared), (target, again, end) = seen
    assert (joint, target) == (["sentiment", "nli"], ["review_check"])
    assert torch.equal(shared, again)
    assert not torch.equal(start, shared)
    assert not torch.equal(again, end)
    assert torch.equal(load_file(folder / "adapter.safetensors")["input.0.tokens"], end)
    assert end.shape == (5, 32)
    assert set(AdaptedModel.load(folder).heads.names()) == {"review_check"}
    metrics = tiny.metrics(folder)
    assert {"sentiment/accuracy", "nli/accuracy"} <= metrics["shared"]["validation"].keys()
    assert metrics["seconds"] >= metrics["shared"]["seconds"]


def test_a_trained_adapter_stands_for_its_task_and_the_target_is_counted_once(bench, capsys):
    bench("stage=adapters", "task=topic", "name=mine", "trainer.max_steps=1")
    capsys.readouterr()
    bench.train("multitask", "adapters=[mine,paraphrase,review_check]", "dry_run=true", name="named")
    first = capsys.readouterr().out.splitlines()[0]
    assert [part.split(" from ")[0].split()[-1] for part in first.split(";")] == [
        "review_check",
        "topic",
        "paraphrase",
    ]
    sizes = ("data.train_sizes.paraphrase=7", "data.train_sizes.review_check=5")
    bench.train("multitask", "adapters=[paraphrase]", *sizes, "dry_run=true", name="few")
    said = capsys.readouterr().out
    assert "paraphrase: 7 train" in said
    assert "review_check: 5 train" in said
    with pytest.raises(PipelineError, match="no task 'topic' here"):
        bench.train("multitask", "adapters=[paraphrase]", "data.train_sizes.topic=7")
    with pytest.raises(PipelineError, match="names no task but the target"):
        bench.train("multitask", "adapters=[mine]", target="topic")
    with pytest.raises(PipelineError, match="no task 'topc'"):
        bench.train("multitask", "adapters=[topc]")
    with pytest.raises(PipelineError, match="did you mean 'target'"):
        bench.train("multitask", SOURCES, "baseline.select=targets")


# --- going on after a stop ----------------------------------------------------------------------------------


def test_a_choice_among_sources_that_was_stopped_goes_on_to_the_same(bench, trained, monkeypatch):
    steps, train = [], PipelineTrainer.training_step

    def stopped(self, *args, **kwargs):
        steps.append(self.state.global_step)
        if len(steps) == 17:
            raise KeyboardInterrupt
        return train(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(PipelineTrainer, "training_step", stopped)
        with pytest.raises(KeyboardInterrupt):
            bench.train("sequential", SOURCES, *HOT, name="stopped")
    work = bench.out / "baselines" / ".stopped.work"
    assert sorted(path.name for path in work.glob("from-*")) == ["from-nli", "from-sentiment"]
    with pytest.raises(PipelineError, match="unfinished run"):
        bench.train("sequential", SOURCES, *HOT, name="stopped")
    folder = bench.train("sequential", SOURCES, *HOT, "resume=true", name="stopped")
    for name in ("adapter", "heads"):
        ours, theirs = (load_file(f"{at}/{name}.safetensors") for at in (folder, trained["sequential"]))
        assert tiny.same(ours, theirs)
    ours, theirs = (tiny.metrics(at) for at in (folder, trained["sequential"]))
    assert ours["test"] == theirs["test"]
    assert ours["sources"].keys() == theirs["sources"].keys()
    assert not work.exists()


# --- refusals -------------------------------------------------------------------------------------------------


def test_what_cannot_be_trained_is_refused_before_anything_is(bench, cli):
    with pytest.raises(ConfigError, match="needs baseline="):
        bench("stage=baseline", "target=review_check")
    with pytest.raises(ConfigError, match="needs target="):
        bench("stage=baseline", "baseline=full")
    with pytest.raises(ConfigError, match="needs adapters="):
        bench("stage=baseline", "baseline=sequential", "target=review_check")
    with pytest.raises(PipelineError, match="the target itself"):
        bench("stage=baseline", "baseline=sequential", "target=nli", SOURCES)
    with pytest.raises(PipelineError, match="another backbone"):
        bench("stage=baseline", "baseline=sequential", "target=topic", SOURCES, "backbone.random=roberta")
    with pytest.raises(PipelineError, match="there is no artefact 'sentimnt'"):
        bench("stage=baseline", "baseline=sequential", "target=topic", "adapters=[sentimnt]")
    with pytest.raises(PipelineError, match="one name= cannot serve several targets"):
        bench("stage=baseline", "baseline=full", "target=[topic,nli]", "name=x")
    with pytest.raises(PipelineError, match="did you mean 'source'"):
        bench("stage=baseline", "baseline=sequential", "target=topic", SOURCES, "baseline.head=sources")
    with pytest.raises(PipelineError, match="no layer stays as it is"):
        bench("stage=baseline", "baseline=full", "target=topic", "trainer.reuse_lower_layers=true")
    with pytest.raises(PipelineError, match="no adapters to drop"):
        bench("stage=baseline", "baseline=head_only", "target=topic", "trainer.drop_lowest_layers=1")
    assert not (bench.out / "baselines" / "nli-sequential").exists()
    assert not list((bench.out / "baselines").glob("topic*"))
    unknown = cli("stage=baseline", "baseline=sequental", "target=nli")
    assert unknown.returncode == 2
    assert "did you mean 'sequential'?" in unknown.stderr
    elsewhere = cli("stage=adapters", "baseline=full", "task=nli")
    assert elsewhere.returncode == 2


def test_a_baseline_is_described_without_loading_torch():
    modules = [f"fusion_pipeline.baselines.{kind}" for kind in registry.options("baseline")]
    code = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    path = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    assert subprocess.run([sys.executable, "-c", code], env=path, timeout=60, check=False).returncode == 0


def test_a_fine_tuned_model_takes_no_other_backbone_and_is_no_source(bench, trained):
    with pytest.raises(PipelineError, match="a fine-tuned backbone of its own"):
        bench("stage=evaluate", f"run={trained['full']}", f"backbone.path={trained['full'] / 'backbone'}")
    with pytest.raises(PipelineError, match="this is a model, and an adapter is needed"):
        bench("stage=fusion", f"adapters=[{trained['full']}]", "target=nli")


def test_learning_rates_are_the_baselines_own_unless_one_is_given(bench, trained):
    folder = bench.train("full", "trainer.max_steps=1", name="rate")
    assert store.Manifest.read(folder).config["trainer"]["learning_rate"] == 5e-5
    assert store.Manifest.read(trained["full"]).config["trainer"]["learning_rate"] == 1e-2
