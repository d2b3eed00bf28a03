"""Adapters that train side by side: each ends as if it had trained alone."""

import kinds
import pytest
import tiny
import torch

from fusion_pipeline import AdaptedModel
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.heads import HeadSpec
from fusion_pipeline.together import Together
from fusion_pipeline.training.arguments import TrainerSpec
from fusion_pipeline.training.fit import fit
from fusion_pipeline.training.fit_together import check_trainer, fit_together
from fusion_pipeline.training.lane import Lane

# Of different sizes, so that one goes on alone; 20 leaves a short last batch.
TASKS = (
    tiny.task_data("a", sizes=(24, 8, 8)),
    tiny.task_data("b", sizes=(44, 12, 8), seed=1),
    tiny.task_data("c", sizes=(20, 8, 8), seed=2, regression=True),
)
SPECS = {
    "pfeiffer": kinds.spec_of("pfeiffer", width=4, init_std=0.3),
    "houlsby": kinds.spec_of("houlsby", width=4, init_std=0.3),
    "lora": kinds.spec_of("lora"),
    "task_attention": kinds.spec_of("task_attention"),
    "moa": kinds.spec_of("moa", width=4, balance=0.5),
}


def backbone(dtype="float64", **values):
    return tiny.adapted(dtype=dtype, dropout=False, pooling="mean", **values).info


def models(info, spec, tasks=TASKS):
    """One model a task, all on one backbone, every adapter drawn alike as separate runs would."""
    made = {}
    for task in tasks:
        torch.manual_seed(0)
        model = AdaptedModel(info)
        name = task.spec.name
        model.add_adapter(name, spec)
        model.add_head(name, HeadSpec(type=task.spec.type, labels=task.spec.labels, dropout=0.0))
        model.adapters[name].to(next(model.backbone.parameters()).dtype)
        model.heads[name].to(next(model.backbone.parameters()).dtype)
        model.train_only(adapters=[name], heads=[name])
        made[name] = model
    return made


def options(tmp_path, name, **values):
    return tiny.fit_spec(tmp_path / name, **{"num_train_epochs": 2, "max_grad_norm": 0.5, **values})


def apart(tmp_path, info, spec, **values):
    states, fits = {}, {}
    for (name, model), task in zip(models(info, spec).items(), TASKS, strict=True):
        model.set_active(name, head=name)
        how = options(tmp_path, f"alone-{name}", **values)
        fits[name] = fit(model, [task.spec], tiny.encoded(model, task), how)
        states[name] = tiny.snapshot(torch.nn.ModuleList([model.adapters[name], model.heads[name]]))
        model.set_active(None)
    return states, fits


def side_by_side(tmp_path, info, spec, **values):
    made = models(info, spec)
    lanes = [
        Lane(name, model, task.spec, tiny.encoded(model, task), options(tmp_path, name, **values))
        for (name, model), task in zip(made.items(), TASKS, strict=True)
    ]
    fits = dict(zip(made, fit_together(lanes, lambda _line: None), strict=True))
    states = {
        name: tiny.snapshot(torch.nn.ModuleList([model.adapters[name], model.heads[name]]))
        for name, model in made.items()
    }
    return states, fits


def assert_alike(alone, together, tolerance):
    for name, state in alone[0].items():
        for key, value in state.items():
            torch.testing.assert_close(together[0][name][key], value, atol=tolerance, rtol=tolerance)
        fits = alone[1][name], together[1][name]
        assert fits[0].steps == fits[1].steps
        assert fits[0].epochs == fits[1].epochs
        assert fits[0].examples == fits[1].examples
        for split, metrics in fits[0].metrics.items():
            assert fits[1].metrics[split] == pytest.approx(metrics, abs=max(tolerance, 1e-6) * 10)


@pytest.mark.parametrize("kind", SPECS)
def test_adapters_and_heads_end_as_if_each_had_trained_alone(kind, tmp_path):
    info = backbone()
    alone = apart(tmp_path, info, SPECS[kind])
    together = side_by_side(tmp_path, info, SPECS[kind])
    assert_alike(alone, together, 1e-9)


def test_the_same_in_single_precision(tmp_path):
    info = backbone("float32")
    values = {"learning_rate": 1e-3}
    alone = apart(tmp_path, info, SPECS["pfeiffer"], **values)
    together = side_by_side(tmp_path, info, SPECS["pfeiffer"], **values)
    assert_alike(alone, together, 1e-5)


@pytest.mark.parametrize(
    "values",
    [
        {"max_steps": 5},
        {"num_train_epochs": 1.5},
        {"num_train_epochs": 4, "early_stopping_patience": 1, "learning_rate": 0.3},
        {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False},
        {"weight_decay": 0.1, "warmup_steps": 2, "lr_scheduler_type": "cosine"},
    ],
)
def test_steps_schedules_and_selection_are_each_adapters_own(values, tmp_path):
    info = backbone()
    alone = apart(tmp_path, info, SPECS["pfeiffer"], **values)
    together = side_by_side(tmp_path, info, SPECS["pfeiffer"], **values)
    assert_alike(alone, together, 1e-9)


def test_no_example_reaches_another_tasks_adapter_or_head():
    made = models(backbone(), SPECS["pfeiffer"], TASKS[:2])
    together = Together(made)
    batches = {name: _batch(made[name], name) for name in made}
    with together.running():
        losses = together.losses(batches)
        losses["a"].backward(retain_graph=True)
    assert all(_moved(p) for p in made["a"].parameters() if p.requires_grad)
    assert not any(_moved(p) for p in made["b"].parameters() if p.requires_grad)


def test_the_backbone_is_bare_again_afterwards():
    made = models(backbone(), SPECS["pfeiffer"], TASKS[:2])
    model = made["a"].eval()
    bare = model(**tiny.inputs(model), output_hidden_states=True).last_hidden_state
    together = Together(made)
    with together.running():
        together.losses({"a": _batch(model, "a")})
    model.eval()
    assert torch.equal(bare, model(**tiny.inputs(model), output_hidden_states=True).last_hidden_state)


def test_prompts_and_settings_that_cannot_be_followed_are_refused():
    with pytest.raises(PipelineError, match="prompt"):
        Together(models(backbone(), kinds.spec_of("prompt"), TASKS[:2]))
    for fields in (
        {"gradient_accumulation_steps": 2},
        {"reuse_lower_layers": True},
        {"eval_strategy": "steps"},
        {"optim": "lomo"},
    ):
        with pytest.raises(PipelineError, match="cannot follow"):
            check_trainer(TrainerSpec.from_section(fields))


def test_more_than_one_process_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(PipelineError, match="one process"):
        check_trainer(TrainerSpec.from_section({}))


def _batch(model, name):
    found = tiny.inputs(model)
    rows = len(found["input_ids"])
    return {
        **found,
        "task": name,
        "labels": torch.arange(rows) % 2,
        "example_ids": torch.arange(rows),
    }


def _moved(parameter):
    return parameter.grad is not None and bool(parameter.grad.any())
