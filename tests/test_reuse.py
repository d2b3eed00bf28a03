"""Reuse of the lower layers' output: the same training, the layers run once for each example, no trace left."""

from contextlib import contextmanager
from pathlib import Path

import pytest
import tiny
import torch
from fitting import run_fit, state
from placed import PLACED
from torch import nn
from torch.utils.checkpoint import checkpoint

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.fusion import AdapterFusionSpec
from fusion_pipeline.heads import HeadSpec
from fusion_pipeline.sites import load_table
from fusion_pipeline.sites.lower import LowerLayers
from fusion_pipeline.training.reuse import lower_layers
from fusion_pipeline.training.state_file import StateFile

TASKS = [tiny.task_data("a", sizes=(21, 9, 5)), tiny.task_data("b", sizes=(13, 6, 5), seed=3)]
OPTIONS = {"num_train_epochs": 3, "per_device_eval_batch_size": 4, "weight_decay": 0.01}
CHECKPOINTED = {"activation_checkpointing": True}


def upper(family="bert", placement="pfeiffer", *, names=("one",), tasks=TASKS[:1], **backbone):
    """In float64, adapters in the upper of two layers alone; under a fusion where there are several."""
    model = tiny.adapted(family, pooling="mean", **{"dropout": False, **backbone})
    for n, name in enumerate(names):
        model.add_adapter(name, tiny.bottleneck(placement=placement, width=4 + n, skip_layers=(0,)))
        tiny.shake(model.adapters[name], 0.3, seed=n)
    for task in tasks:
        model.add_head(task.spec.name, HeadSpec(type=task.spec.type, labels=task.spec.labels, dropout=0.1))
        tiny.shake(model.heads[task.spec.name], 0.3, seed=7)
    fusion = "mix" if len(names) > 1 else None
    if fusion:
        model.add_fusion(fusion, AdapterFusionSpec(), names)
        tiny.shake(model.fusions[fusion], 0.3, seed=9)
    model.set_active(names, fusion=fusion, head=tasks[0].spec.name)
    model.train_only(
        adapters=() if fusion else names, fusion=fusion, heads=[task.spec.name for task in tasks]
    )
    return model.double()


def both_ways(work, *, names=("one",), tasks=TASKS[:1], **options):
    """[(model, Fit) without, (model, Fit) with the option]."""
    made = []
    for reuse in (False, True):
        model = upper(names=names, tasks=tasks)
        values = {**OPTIONS, **options, "reuse_lower_layers": reuse}
        made.append((model, run_fit(model, tasks, work / str(reuse), **values)))
    return made


def weights_of(fit):
    """What the fusion listened to on validation, flat."""
    return {
        (task, key, name): weight
        for task, sites in fit.fusion_weights.items()
        for key, site in sites.items()
        for name, weight in site["weights"].items()
    }


@pytest.mark.parametrize(
    ("names", "tasks", "options"),
    [
        (("one",), TASKS[:1], {}),
        (("one", "two"), TASKS[:1], {}),
        (("one", "two"), TASKS, {"gradient_accumulation_steps": 2}),
        (("one", "two"), TASKS[:1], CHECKPOINTED),
    ],
    ids=["adapter", "fusion", "two tasks, accumulated", "checkpointed"],
)
def test_training_is_the_same_with_and_without_reuse(tmp_path, names, tasks, options):
    (plain, wanted), (model, found) = both_ways(tmp_path, names=names, tasks=tasks, **options)
    before = state(upper(names=names, tasks=tasks))
    moved = [name for name, value in state(plain).items() if (value - before[name]).abs().max() > 1e-2]
    assert moved, "nothing was trained"
    for name, value in state(model).items():
        torch.testing.assert_close(value, state(plain)[name], rtol=1e-7, atol=1e-9, msg=name)
    for split in ("validation", "test"):
        assert found.metrics[split] == pytest.approx(wanted.metrics[split], rel=1e-7)
        for ours, theirs in zip(found.outputs[split], wanted.outputs[split], strict=True):
            assert ours.logits == pytest.approx(theirs.logits, rel=1e-6, abs=1e-9)
    assert found.steps == wanted.steps
    assert weights_of(found) == pytest.approx(weights_of(wanted), rel=1e-6)
    assert bool(weights_of(found)) == (len(names) > 1)


@contextmanager
def rows_through(layer):
    """How many rows a layer computes, in the list this yields."""
    rows = []
    inside = next(module for module in layer.modules() if not list(module.children()))
    handle = inside.register_forward_pre_hook(lambda _m, args: rows.append(len(args[0])))
    yield rows
    handle.remove()


def test_the_lower_layer_runs_once_for_each_example_of_a_run(tmp_path):
    task = TASKS[0]
    texts = {row["text"] for rows in task.splits.values() for row in rows}
    for reuse, wanted in ((True, len(texts)), (False, 3 * 21 + 3 * 9 + 9 + 5)):
        model = upper()
        with rows_through(model.table.layer_list(model.backbone)[0]) as rows:
            run_fit(model, [task], tmp_path / str(reuse), **OPTIONS, reuse_lower_layers=reuse)
        assert sum(rows) == wanted


def test_after_a_run_the_model_is_one_that_never_reused_anything(tmp_path):
    model, fresh = upper(), upper()
    hooks = [len(module._forward_pre_hooks) for module in model.modules()]
    run_fit(model, TASKS[:1], tmp_path, **OPTIONS, reuse_lower_layers=True)
    fresh.load_state_dict(model.state_dict())
    batch = tiny.inputs(model)
    with torch.no_grad():
        assert torch.equal(model.eval()(**batch).logits, fresh.eval()(**batch).logits)
    assert [len(module._forward_pre_hooks) for module in model.modules()] == hooks
    assert not [layer for layer in model.table.layer_list(model.backbone) if "forward" in vars(layer)]
    assert {path.name.split("-")[0] for path in tmp_path.iterdir()} <= {"checkpoint", "fusion_weights.jsonl"}


def test_a_run_that_breaks_off_leaves_nothing_attached(tmp_path):
    model = upper()
    with pytest.raises(PipelineError, match="NaN or infinite"):
        run_fit(model, TASKS[:1], tmp_path, **{**OPTIONS, "learning_rate": 1e300}, reuse_lower_layers=True)
    assert not [layer for layer in model.table.layer_list(model.backbone) if "forward" in vars(layer)]


# Models of pictures and those that run one layer many times are refused.
REUSABLE = [
    (family, placement)
    for family, placement in PLACED
    if family not in ("vit", "deit", "beit") and not load_table(family).shared
]


@pytest.mark.parametrize(("family", "placement"), REUSABLE)
def test_a_forward_from_given_states_is_the_plain_one_in_every_family(family, placement):
    model = upper(family, placement).eval()
    layers = model.table.layer_list(model.backbone)
    batch = tiny.inputs(model)
    lower = lower_layers(model)
    with torch.no_grad():
        plain = model(**batch).logits
        lower.attach()
        states = lower.record(**batch)
        with rows_through(layers[0]) as rows:
            reused = model(**batch, lower_states=states).logits
            others = model(**batch, lower_states=states.flip(0)).logits
        again = model(**batch).logits
        lower.detach()
    torch.testing.assert_close(reused, plain, rtol=1e-12, atol=1e-12)
    assert not rows, "the lower layer ran"
    assert (others - plain).abs().max() > 1e-3, "the states do not matter"
    assert torch.equal(again, plain)


class Layer(nn.Linear):
    """Returns its mask beside its states, as some families do."""

    def forward(self, hidden_states, mask=None):
        return super().forward(hidden_states), mask


class Stack(nn.Module):
    """Layers that are checkpointed with their hooks, as some releases of transformers do."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(Layer(3, 3) for _ in range(3))

    def forward(self, x):
        for layer in self.layers:
            x, _mask = checkpoint(layer, x, use_reentrant=False)
        return x


def test_layers_that_return_tuples_and_are_recomputed_are_bypassed_too():
    stack, x = Stack(), torch.randn(1, 2, 3)
    wanted = torch.autograd.grad(stack(x=x).sum(), stack.layers[2].weight)
    lower = LowerLayers(stack, stack.layers, 2)
    lower.attach()
    states = lower.record(x=x)
    # From other inputs, so that only the states can be what layer 2 sees, now and when it is recomputed.
    loss = stack(x=-x, lower_states=states).sum()
    assert torch.equal(loss, stack(x=x).sum())
    loss = stack(x=-x, lower_states=states).sum()
    assert torch.equal(torch.autograd.grad(loss, stack.layers[2].weight)[0], wanted[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("side", ["left", "right"])
def test_states_come_back_bit_by_bit_and_nothing_lies_in_the_folder(tmp_path, dtype, side):
    file = StateFile(tmp_path / "new")
    made = {bytes([n]): torch.randn(n, 3, dtype=dtype) for n in (4, 1, 3)}
    for key, value in made.items():
        file.put(key, value)
    keys = [bytes([3]), bytes([4]), bytes([3])]
    mask = torch.arange(6) < torch.tensor([[3], [4], [3]])
    mask = mask.flip(1) if side == "left" else mask
    found = file.read(keys, mask)
    assert found.dtype == dtype
    for key, states, real in zip(keys, found, mask, strict=True):
        assert torch.equal(states[real], made[key])
        assert not states[~real].any()
    assert b"other" not in file
    assert not list((tmp_path / "new").iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no file that is always full")
def test_a_full_disk_is_told(tmp_path):
    file = StateFile(tmp_path)
    file.close()
    file._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
    with pytest.raises(PipelineError, match="could not be kept") as caught:
        file.put(b"key", torch.zeros(2, 3))
    assert "reuse_lower_layers=false" in caught.value.hint


REFUSED = [
    (("backbone.dropout=true", "adapter.skip_layers=[0]"), "dropout", "backbone.dropout=false"),
    (("backbone.dropout=false",), "adapter in the lowest layer", "adapter.skip_layers=[0,1]"),
    (("backbone.dropout=false", "adapter.skip_layers=[1]"), "lowest layer", "adapter.skip_layers=[0,1]"),
]


@pytest.mark.parametrize(("words", "what", "hint"), REFUSED)
def test_what_cannot_be_reused_is_refused_before_training(tmp_path, words, what, hint):
    file = tiny.write_csv(tmp_path / "a.csv", tiny.rows(30))
    asked = ("stage=adapters", f"task={file}", *tiny.columns(), f"output_root={tmp_path}", *words)
    with pytest.raises(PipelineError, match=what) as caught:
        tiny.stage(*asked, "trainer.reuse_lower_layers=true", "dry_run=true")
    assert caught.value.where == "trainer.reuse_lower_layers"
    assert hint in caught.value.hint


def test_a_backbone_that_runs_a_layer_many_times_is_refused():
    model = upper()
    model.config.num_hidden_layers = 12
    with pytest.raises(PipelineError, match="one layer many times"):
        lower_layers(model)


def test_python_gets_the_same_refusal_from_the_fit_itself(tmp_path):
    model = upper(dropout=True)
    with pytest.raises(PipelineError, match="dropout"):
        run_fit(model, TASKS[:1], tmp_path, reuse_lower_layers=True)
    assert not list(tmp_path.glob("checkpoint-*"))


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_the_option_is_true_or_false(tmp_path, value):
    with pytest.raises(PipelineError, match="reuse_lower_layers") as caught:
        tiny.fit_spec(tmp_path, reuse_lower_layers=value)
    assert caught.value.hint == "true or false"
