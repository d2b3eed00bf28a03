"""Stage 1 with shared=true: one adapter for several tasks, with a head for each."""

import json

import pytest
import tiny
import torch
from safetensors.torch import load_file
from test_distributed import EXACT, torchrun
from test_resume import LAST, assert_equal_artefacts, interrupted

from fusion_pipeline import AdaptedModel, store
from fusion_pipeline.errors import PipelineError

TASKS = ("small", "large")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Two data files, and a plain adapter and a generator trained on both."""
    root = tmp_path_factory.mktemp("shared")
    files = [
        tiny.write_csv(root / f"{name}.csv", tiny.rows(size, seed=n))
        for n, (name, size) in enumerate(zip(TASKS, (60, 100), strict=True))
    ]
    words = ("stage=adapters", f"task=[{','.join(map(str, files))}]", "shared=true", *tiny.columns())
    words += (f"output_root={root}",)
    tiny.stage(*words, "name=both", "trainer.learning_rate=1e-2", "adapter.reduction_factor=4")
    tiny.stage(*words, "name=made", "trainer.learning_rate=1e-2", "adapter=hyper", "adapter.width=8")
    return root, files, words


def adapters(root, name):
    return root / "adapters" / name


@pytest.mark.parametrize("name", ["both", "made"])
def test_one_artefact_knows_all_tasks_and_answers_as_it_did(shared, name):
    folder = adapters(shared[0], name)
    manifest = store.verify(folder, kind="adapter")
    assert [data["task"] for data in manifest.data] == list(TASKS)
    assert manifest.config["task"] == list(TASKS)
    model, written = AdaptedModel.load(folder), tiny.said(folder)
    assert {row["task"] for row in written} == set(TASKS)
    for task in TASKS:
        rows = [row for row in written if row["task"] == task]
        for found, row in zip(tiny.probabilities(model, rows, task=task), rows, strict=True):
            assert found == pytest.approx(row["probabilities"], abs=1e-5)
    assert 'task="small"' in (folder / "README.md").read_text()


def test_the_adapter_learns_from_every_task(shared):
    root, _, words = shared
    metrics = tiny.metrics(adapters(root, "both"))
    assert metrics["examples"]["train"] > 100
    assert metrics["validation"]["score"] == pytest.approx(
        sum(metrics["validation"][f"{task}/accuracy"] for task in TASKS) / 2
    )
    tiny.stage(
        *words,
        "name=turns",
        "trainer.learning_rate=1e-2",
        "adapter.reduction_factor=4",
        "sampling.strategy=round_robin",
    )
    files = [load_file(adapters(root, name) / "adapter.safetensors") for name in ("both", "turns")]
    assert not tiny.same(*files), "how steps are shared among the tasks made no difference"


def test_all_heads_are_evaluated_or_one(shared):
    root, files, words = shared
    folder, out = adapters(root, "made"), root / "evaluate"
    tiny.stage("stage=evaluate", f"run={folder}", f"output_root={root}")
    tiny.stage("stage=evaluate", f"run={folder}", f"output_root={root}", "task=large")
    everything = json.loads((out / "adapter-made.json").read_text())
    one = json.loads((out / "adapter-made-large.json").read_text())
    for split in ("validation", "test"):
        assert everything[split]["large/accuracy"] == one[split]["accuracy"]
        assert everything[split]["large/loss"] == pytest.approx(one[split]["loss"], abs=1e-6)
    assert [data["task"] for data in one["data"]] == ["large"]
    with pytest.raises(PipelineError, match="2 heads"):
        tiny.stage("stage=evaluate", f"run={folder}", f"output_root={root}", f"task={files[0]}", *words[3:5])


def test_a_file_is_labelled_by_the_chosen_task(shared, tmp_path):
    root, _, _ = shared
    texts, told = ["fine grand", "awful bleak"], {}
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    for task in TASKS:
        out = tmp_path / f"{task}.jsonl"
        words = ("stage=predict", f"run={adapters(root, 'made')}", f"input={tmp_path / 'in.jsonl'}")
        tiny.stage(*words, f"output={out}", f"task={task}")
        told[task] = [json.loads(line)["probabilities"] for line in out.read_text().splitlines()]
    assert told["small"] != told["large"]
    with pytest.raises(PipelineError, match="which head answers"):
        tiny.stage(*words, f"output={tmp_path / 'none.jsonl'}")


def test_it_is_there_already_or_made_with_other_settings(shared):
    root, files, words = shared
    folder = adapters(root, "both")
    same = (*words, "name=both", "trainer.learning_rate=1e-2", "adapter.reduction_factor=4")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    tiny.stage(*same)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    with pytest.raises(PipelineError, match="sampling"):
        tiny.stage(*same, "sampling.strategy=round_robin")
    with pytest.raises(PipelineError, match="task"):
        tiny.stage(*same, f"task=[{files[1]},{files[0]}]")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("together=true",), "one adapter for each task"),
        (("task=[sentiment]", "columns.text=null", "columns.label=null"), "several tasks, and one"),
        (("shared=maybe",), "not true or false"),
        (("shared=false", "name=x"), "cannot serve several adapters"),
    ],
)
def test_what_does_not_go_together_is_refused(shared, words, said):
    with pytest.raises(PipelineError, match=said):
        tiny.stage(*shared[2], *words)


# --- as a source --------------------------------------------------------------------------------------


def test_fused_as_one_adapter_and_task_by_task(shared):
    root, files, _ = shared
    words = (f"target={files[0]}", f"output_root={root}", *tiny.columns(), "trainer.max_steps=3")
    chosen = "adapters=[both,made:small,made:large]"
    tiny.stage("stage=fusion", chosen, *words, "name=mix", "unfreeze.adapters=true")
    folder = root / "fusion" / "mix"
    rows = tiny.said(folder)
    model = AdaptedModel.load(folder)
    for found, row in zip(tiny.probabilities(model, rows), rows, strict=True):
        assert found == pytest.approx(row["probabilities"], abs=1e-5)
    assert model.active_adapters == ("both", "made:small", "made:large")
    small, large = (model.adapters[f"made:{task}"].state_dict() for task in TASKS)
    assert not torch.equal(small["common.generator.task"], large["common.generator.task"])
    tiny.stage("stage=prune", f"run={folder}", "keep=2", f"output_root={root}")
    tiny.stage("stage=evaluate", f"run={root / 'fusion' / 'mix-pruned'}", f"output_root={root}")


def test_a_fusion_elsewhere_takes_the_generator_along_once(shared, tmp_path):
    root, files, _ = shared
    sources = ",".join(f"{adapters(root, 'made')}:{task}" for task in TASKS)
    words = (f"target={files[0]}", *tiny.columns(), "trainer.max_steps=1", f"output_root={tmp_path}")
    tiny.stage("stage=fusion", f"adapters=[{sources}]", *words)
    folder = tmp_path / "fusion" / "small"
    assert [path.name for path in (folder / "parents").iterdir()] == ["made"]
    assert AdaptedModel.load(folder).active_adapters == ("made:small", "made:large")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("made", "an adapter for each of its tasks: small, large"),
        ("made:smal", "no adapter for 'smal'"),
        ("both:small", "one adapter, for all"),
        ("nothing:small", "no artefact 'nothing'"),
        ("made:small,made:small", "two adapters are called"),
    ],
)
def test_a_source_that_is_not_clear_is_refused(shared, source, said):
    root, files, _ = shared
    words = (f"target={files[0]}", f"output_root={root}", *tiny.columns())
    with pytest.raises(PipelineError, match=said) as caught:
        tiny.stage("stage=fusion", f"adapters=[{source}]", *words)
    assert caught.value.where == "adapters"


def test_one_head_goes_out_with_the_adapter_and_two_are_refused(shared, tmp_path):
    root, _, _ = shared
    words = ("stage=export", "format=adapterhub", f"run={adapters(root, 'both')}", f"output={tmp_path / 'x'}")
    with pytest.raises(PipelineError, match="one head beside an adapter") as caught:
        tiny.stage(*words)
    assert caught.value.where == "task"
    with pytest.raises(PipelineError, match="no head 'medium'"):
        tiny.stage(*words, "task=medium")
    tiny.stage(*words, "task=large")
    tiny.stage(
        "stage=import", "format=adapterhub", f"path={tmp_path / 'x'}", f"output_root={tmp_path}", "name=in"
    )
    texts = ["fine grand", "awful bleak"]
    found = AdaptedModel.load(tmp_path / "adapters" / "in").predict(texts)
    wanted = AdaptedModel.load(adapters(root, "both")).predict(texts, task="large")
    for one, other in zip(found, wanted, strict=True):
        assert list(one.probabilities.values()) == pytest.approx(list(other.probabilities.values()), abs=1e-5)


# --- stopped, and on two processes -------------------------------------------------------------------


def test_a_stopped_run_goes_on(shared, tmp_path, monkeypatch):
    words = (*shared[2], "adapter=hyper", "adapter.width=8", "trainer.num_train_epochs=2", "name=late", LAST)
    tiny.stage(*words, f"output_root={tmp_path / 'whole'}")
    interrupted(monkeypatch, 20, *words, f"output_root={tmp_path / 'stopped'}")
    tiny.stage(*words, f"output_root={tmp_path / 'stopped'}", "resume=true")
    one, other = (adapters(tmp_path / name, "late") for name in ("whole", "stopped"))
    assert_equal_artefacts(one, other)


def test_two_processes_train_what_one_would(shared, tmp_path):
    words = (*shared[2], "adapter=hyper", "adapter.width=8", "name=two", *EXACT)
    words = [word for word in words if not word.startswith("trainer.per_device_eval")]
    tiny.stage(*words, f"output_root={tmp_path / 'one'}", "trainer.per_device_train_batch_size=4")
    rest = (f"output_root={tmp_path / 'two'}", "trainer.per_device_train_batch_size=2")
    done = torchrun("-m", "fusion_pipeline", *tiny.QUICK, *words, *rest)
    assert done.returncode == 0, done.stderr
    one, two = (adapters(tmp_path / name, "two") for name in ("one", "two"))
    assert tiny.metrics(two)["world_size"] == 2
    for file in ("adapter.safetensors", "heads.safetensors"):
        wanted, found = load_file(one / file), load_file(two / file)
        assert all((found[key] - value).abs().max() < 1e-5 for key, value in wanted.items())
