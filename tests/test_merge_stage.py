"""stage=merge on the command line: artefacts of ours, their heads, and what they compute."""

import json

import pytest
import tiny
import torch

from fusion_pipeline import AdaptedModel, registry, store
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.merging.loading import load_merge
from fusion_pipeline.merging.opening import open_sources
from fusion_pipeline.merging.plan import Plan

TASKS = ("sentiment", "nli")
SMALL = ("data.max_train=16", "data.max_validation=8", "data.max_test=8")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two LoRA and three bottleneck adapters on the tiny backbone."""
    root = tmp_path_factory.mktemp("merge")
    for task in TASKS:
        for kind in ("lora", "pfeiffer"):
            words = (
                "adapter.dropout=0",
                f"name={task}-{kind}",
                f"output_root={root}",
                "trainer.learning_rate=0.05",
            )
            tiny.stage("stage=adapters", f"task={task}", f"adapter={kind}", *words, *SMALL)
    wide = (
        "adapter=pfeiffer",
        "adapter.width=5",
        "name=wide",
        f"output_root={root}",
        "trainer.learning_rate=0.05",
    )
    tiny.stage("stage=adapters", "task=topic", *wide, *SMALL)
    return root


def merge(root, *words):
    tiny.stage("stage=merge", f"output_root={root}", *words)


def state(folder):
    return store.load_tensors(folder / "adapter.safetensors")


def weights_of(model, name):
    return {key: value.clone() for key, value in model.adapters[name].state_dict().items()}


def delta(folder, site):
    model = AdaptedModel.load(folder)
    part = dict(model.adapters[model.active_adapters[0]].items())[site].low_rank()
    return part.scale * part.up @ part.down


def test_a_merge_of_loras_is_an_artefact_with_the_first_ones_head(root):
    merge(root, "adapters=[sentiment-lora,nli-lora]", "weights=[3,1]", "name=both")
    folder = root / "adapters" / "both"
    manifest = store.verify(folder, kind="adapter")
    assert [parent["name"] for parent in manifest.parents] == ["sentiment-lora", "nli-lora"]
    for site in ("query.0", "value.1"):
        one, other = (delta(root / "adapters" / f"{task}-lora", site) for task in TASKS)
        torch.testing.assert_close(delta(folder, site), 0.75 * one + 0.25 * other, atol=1e-6, rtol=0)
    tiny.stage("stage=evaluate", f"run={folder}", f"output_root={root}")
    assert AdaptedModel.load(folder).predict(["fine"])[0].label in ("negative", "positive")


def test_a_merged_artefact_is_fused_like_any_other(root):
    merge(root, "adapters=[sentiment-lora,nli-lora]", "name=fusable")
    words = ("adapters=[fusable,nli-lora]", "target=sentiment", "name=over", *SMALL)
    tiny.stage("stage=fusion", f"output_root={root}", *words)
    assert AdaptedModel.load(root / "fusion" / "over").active_adapters == ("fusable", "nli-lora")


def test_the_head_can_be_anothers_or_none(root):
    merge(root, "adapters=[sentiment-lora,nli-lora]", "name=nlis", "head_from=nli-lora")
    assert AdaptedModel.load(root / "adapters" / "nlis").heads.names() == ["nli"]
    merge(root, "adapters=[sentiment-lora,nli-lora]", "name=headless", "head_from=none")
    assert AdaptedModel.load(root / "adapters" / "headless").heads.names() == []
    with pytest.raises(PipelineError, match="no input called 'topic' has a head"):
        merge(root, "adapters=[sentiment-lora,nli-lora]", "name=x", "head_from=topic")
    merge(root, "adapters=[headless,nli-lora]", "name=only")
    assert AdaptedModel.load(root / "adapters" / "only").heads.names() == ["nli"]
    with pytest.raises(PipelineError, match="has no head, and several others have"):
        merge(root, "adapters=[headless,nli-lora,sentiment-lora]", "name=y")


def test_parameters_of_bottlenecks_are_averaged(root):
    merge(root, "adapters=[sentiment-pfeiffer,nli-pfeiffer]", "weights=[1,3]", "name=mean")
    parts = [state(root / "adapters" / f"{task}-pfeiffer") for task in TASKS]
    for key, value in state(root / "adapters" / "mean").items():
        torch.testing.assert_close(value, 0.25 * parts[0][key] + 0.75 * parts[1][key], atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", ["slerp", "ties", "dare", "magnitude_prune", "task_arithmetic"])
def test_every_method_with_a_meaning_takes_bottlenecks(root, method):
    merge(root, "adapters=[sentiment-pfeiffer,nli-pfeiffer]", f"method={method}", f"name=p-{method}")
    record = json.loads((root / "adapters" / f"p-{method}" / "merge.json").read_text())
    assert any("their parameters were merged" in note for note in record["notes"])


def test_cat_of_bottlenecks_is_the_sum_of_what_they_compute(root):
    merge(root, "adapters=[sentiment-pfeiffer,wide]", "weights=[0.5,2]", "method=cat", "name=summed")
    x = torch.randn(3, 32)

    def output(name):
        model = AdaptedModel.load(root / "adapters" / name)
        return dict(model.adapters[name].items())["ffn.1"](x)

    wanted = 0.5 * output("sentiment-pfeiffer") + 2 * output("wide")
    torch.testing.assert_close(output("summed"), wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["adapters=[sentiment-pfeiffer,wide]"],
            "(?s)cannot be merged.*ffn.0: width 16 in sentiment-pfeiffer, 5 in wide",
        ),
        (["adapters=[sentiment-pfeiffer,nli-lora]"], "LoRA and bottleneck"),
        (["adapters=[sentiment-pfeiffer,nli-pfeiffer]", "method=svd"], "svd cuts a matrix"),
        (["adapters=[sentiment-pfeiffer,nli-pfeiffer]", "rank=4"], "rank=4 is out of range"),
        (["adapters=[sentiment-pfeiffer,nli-pfeiffer]", "format=peft"], "PEFT has no bottleneck"),
        (["adapters=[sentiment-pfeiffer,nli-pfeiffer]", "format=mlx"], "MLX has no bottleneck"),
        (["adapters=[sentiment-lora,nli-lora]", "format=mlx"], "MLX-LM has no place"),
    ],
)
def test_what_has_no_meaning_is_refused_and_nothing_is_left(root, words, message):
    with pytest.raises(PipelineError, match=message):
        merge(root, *words, "name=refused")
    assert not list((root / "adapters").glob("*refused*"))


def test_a_merge_is_done_once_and_replaced_only_when_told(root, capsys):
    words = ("adapters=[sentiment-lora,nli-lora]", "name=once")
    merge(root, *words)
    before = (root / "adapters" / "once" / "manifest.json").stat().st_mtime_ns
    merge(root, *words)
    assert "is there already" in capsys.readouterr().out
    assert (root / "adapters" / "once" / "manifest.json").stat().st_mtime_ns == before
    with pytest.raises(PipelineError, match="another artefact lies here"):
        merge(root, *words, "weights=[1,2]")
    with pytest.raises(PipelineError, match="another artefact lies here"):
        merge(root, *words, "head_from=nli-lora")
    merge(root, *words, "weights=[1,2]", "overwrite=true")
    assert store.verify(root / "adapters" / "once").config["merge"]["weights"] == [1, 2]


def test_a_dry_run_writes_nothing(root, capsys):
    merge(root, "adapters=[sentiment-lora,nli-lora]", "name=dry", "dry_run=true")
    assert "nothing was merged" in capsys.readouterr().out
    assert not (root / "adapters" / "dry").exists()


def test_a_merge_in_memory_is_the_one_on_disk(root):
    merge(root, "adapters=[sentiment-lora,nli-lora]", "weights=[1,3]", "name=disk")
    model = AdaptedModel.load(root / "adapters" / "disk")
    sources = open_sources(["sentiment-lora", "nli-lora"], root / "adapters")
    method = registry.build("merge", "linear")
    load_merge(model, Plan(sources=sources, method=method, weights=[1, 0]), "memory")
    assert not tiny.same(weights_of(model, "memory"), weights_of(model, "disk"))
    load_merge(model, Plan(sources=sources, method=method, weights=[1, 3]), "memory")
    assert tiny.same(weights_of(model, "memory"), weights_of(model, "disk"))
