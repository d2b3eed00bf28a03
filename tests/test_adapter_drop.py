"""AdapterDrop: the lowest layers run without their adapters, at random in training, by choice afterwards."""

from copy import deepcopy
from pathlib import Path

import fitting
import kinds
import pytest
import tiny
import torch
from placed import fused_model, with_adapter
from safetensors.torch import load_file
from test_distributed import torchrun

from fusion_pipeline.errors import PipelineError

PLACES = [("bert", "pfeiffer"), ("bert", "houlsby"), ("gpt2", "parallel")]


def out(model):
    with torch.no_grad():
        return model(**tiny.inputs(model), output_hidden_states=True)


@pytest.mark.parametrize(("family", "placement"), PLACES)
def test_dropping_equals_an_adapter_that_never_was_in_those_layers(family, placement):
    model = with_adapter(family, placement)
    model.drop_layers(1)
    other = tiny.adapted(family)
    other.add_adapter("one", tiny.bottleneck(placement=placement, skip_layers=(0,)))
    other.load_state_dict(
        {k: v for k, v in model.state_dict().items() if k in other.state_dict()}, strict=False
    )
    other.set_active("one")
    assert torch.equal(out(model).last_hidden_state, out(other.eval()).last_hidden_state)


@pytest.mark.parametrize(("family", "placement"), PLACES)
def test_all_dropped_is_the_bare_backbone_and_none_is_as_before(family, placement):
    model = with_adapter(family, placement)
    before = out(model).last_hidden_state
    model.drop_layers(model.layers)
    dropped = out(model).last_hidden_state
    model.drop_layers(0)
    assert torch.equal(out(model).last_hidden_state, before)
    model.set_active(None)
    assert torch.equal(out(model).last_hidden_state, dropped)
    assert not torch.equal(before, dropped)


def test_a_fusion_is_dropped_with_its_adapters():
    model = fused_model("bert", "pfeiffer").eval()
    model.drop_layers(1)
    seen = model(**tiny.inputs(model), output_fusion_weights=True).fusion_weights
    assert sorted(seen) == [f"ffn.{layer}" for layer in range(1, model.layers)]


def test_it_lasts_until_set_active_and_goes_with_a_copy():
    model = with_adapter("bert", "pfeiffer")
    whole = out(model).last_hidden_state
    model.drop_layers(1)
    dropped = out(model).last_hidden_state
    assert torch.equal(out(deepcopy(model)).last_hidden_state, dropped)
    assert torch.equal(out(model).last_hidden_state, dropped)
    model.set_active("one", head="task")
    assert torch.equal(out(model).last_hidden_state, whole)


@pytest.mark.parametrize("count", [-1, 99, True])
def test_layers_that_are_not_there_are_refused(count):
    with pytest.raises(PipelineError, match="cannot be dropped"):
        with_adapter("bert", "pfeiffer").drop_layers(count)


def test_dropped_layers_get_no_gradient():
    model = with_adapter("bert", "pfeiffer").train()
    model.train_only(adapters=["one"], heads=["task"])
    model.drop_layers(1)
    model(**tiny.inputs(model), labels=kinds.LABELS).loss.backward()
    for key, part in model.adapters["one"].items():
        assert all((p.grad is None) == (key == "ffn.0") for p in part.parameters())


def adapter_trainer(tmp_path, **options):
    task = tiny.task_data()
    model = with_adapter("bert", "pfeiffer")
    tiny.add_head(model, name="other")
    model.train_only(adapters=["one"], heads=["task"])
    return fitting.trainer_for(model, [task], tmp_path, **options)


def test_training_draws_from_0_to_n_the_same_each_time_and_moves_only_what_ran(tmp_path):
    trainer = adapter_trainer(tmp_path, drop_lowest_layers=1, max_steps=12)
    drawn = []
    step = trainer.training_step

    def watched(model, *rest):
        loss = step(model, *rest)
        drawn.append(trainer.model._routing.dropped)
        part = trainer.model.adapters["one"].at("ffn.0")
        assert all((p.grad is None) == (drawn[-1] == 1) for p in part.parameters())
        return loss

    trainer.training_step = watched
    trainer.train()
    assert set(drawn) == {0, 1}
    trainer.state.global_step = 3
    assert [trainer._drawn() for _ in range(3)] == [drawn[3]] * 3


def test_evaluation_drops_nothing_unless_told(tmp_path):
    trainer = adapter_trainer(tmp_path, drop_lowest_layers=1)
    first = trainer.evaluate()["eval_loss"]
    trainer.model.drop_layers(1)
    assert trainer.evaluate()["eval_loss"] == first
    trainer.evaluated_without = 1
    assert trainer.evaluate()["eval_loss"] != first


def test_a_run_reports_its_metrics_without_the_lowest_layers(tmp_path):
    file = tiny.write_csv(tmp_path / "a.csv", tiny.rows(60))
    words = ("stage=adapters", f"task={file}", *tiny.columns(), f"output_root={tmp_path}")
    tiny.stage(*words, "trainer.drop_lowest_layers=1")
    metrics = tiny.metrics(tmp_path / "adapters" / "a")
    assert metrics["layers_dropped"].keys() == {"1"}
    for split in ("validation", "test"):
        assert metrics["layers_dropped"]["1"][split].keys() == metrics[split].keys()
    with pytest.raises(PipelineError, match="cannot be dropped"):
        tiny.stage(*words, "trainer.drop_lowest_layers=99", "name=b")


DROPPING = (
    *("head.dropout=0", "backbone.dropout=false", "trainer.drop_lowest_layers=1", "trainer.optim=sgd"),
    *("trainer.learning_rate=0.1", "trainer.max_grad_norm=0", "trainer.num_train_epochs=3"),
    "trainer.load_best_model_at_end=false",
)


def test_a_fusion_that_was_stopped_on_two_processes_drops_what_one_would(tmp_path):
    file = tiny.write_csv(tmp_path / "a.csv", tiny.rows(61))
    for name in ("one", "two"):
        words = ("stage=adapters", f"task={file}", *tiny.columns(), f"output_root={tmp_path}", f"name={name}")
        tiny.stage(*words, "trainer.max_steps=3")
    words = ("stage=fusion", "adapters=[one,two]", f"target={file}", *tiny.columns(), *DROPPING)
    tiny.stage(*words, f"output_root={tmp_path}", "name=alone")
    shared = (
        *tiny.QUICK,
        *words,
        f"output_root={tmp_path}",
        "name=shared",
        "trainer.per_device_train_batch_size=4",
    )
    assert torchrun(str(Path(__file__).parent / "stopped_run.py"), "stepping", "9", *shared).returncode != 0
    assert list((tmp_path / "fusion" / ".shared.work").glob("checkpoint-*/complete.json"))
    done = torchrun("-m", "fusion_pipeline", *shared, "resume=true")
    assert done.returncode == 0, done.stderr
    folders = [tmp_path / "fusion" / name for name in ("alone", "shared")]
    ours, theirs = (load_file(folder / "fusion.safetensors") for folder in folders)
    assert all((value - theirs[key]).abs().max() < 1e-5 for key, value in ours.items())
    alone, shared_metrics = map(tiny.metrics, folders)
    assert alone["layers_dropped"]["1"]["test"] == pytest.approx(
        shared_metrics["layers_dropped"]["1"]["test"], abs=1e-4
    )
    assert alone["layers_dropped"]["1"]["test"]["loss"] != alone["test"]["loss"]
