"""One generator for several tasks: each task has an embedding, and what is made for it is its own."""

from copy import deepcopy

import pytest
import tiny
import torch
from kinds import LABELS, part, spec_of

from fusion_pipeline import registry, store
from fusion_pipeline.adapters.building import count_parameters
from fusion_pipeline.errors import PipelineError

TASKS = ("a", "b", "c")


def model_for(tasks=TASKS, std=0.3):
    model = tiny.adapted(dropout=False)
    model.add_adapter("made", spec_of("hyper", width=6, embedding=5).for_tasks(tasks))
    if std is not None:
        tiny.shake(model.adapters["made"], std)
    for n, task in enumerate(tasks):
        tiny.add_head(model, task, dropout=0.0)
        tiny.shake(model.heads[task], seed=n)
    model.set_active("made", head=tasks[0])
    return model.eval()


def states(model, task):
    with torch.no_grad():
        return model(**tiny.inputs(model), task=task, output_hidden_states=True).last_hidden_state


def embeddings(model):
    return part(model, "made").common.generator.task


def test_the_formula_counts_one_embedding_a_task():
    one, three = spec_of("hyper", width=6), spec_of("hyper", width=6).for_tasks(TASKS)
    assert three.common_count(32, 32) - one.common_count(32, 32) == 2 * one.embedding
    model = model_for()
    spec = part(model, "made").spec
    widths = model._routing.widths(spec.rows(model.table))
    assert count_parameters(spec, widths) == sum(p.numel() for p in part(model, "made").parameters())


def test_each_task_goes_through_weights_of_its_own_and_nothing_is_kept_from_another():
    model = model_for()
    first = {task: states(model, task) for task in TASKS}
    assert not torch.allclose(first["a"], first["b"])
    assert all(torch.equal(states(model, task), first[task]) for task in reversed(TASKS))
    with torch.no_grad():
        embeddings(model)[1] = embeddings(model)[0]
    assert torch.equal(states(model, "b"), first["a"]), "the task embedding is all that differs"
    assert torch.equal(states(model, "c"), first["c"])


def test_the_active_head_chooses_where_no_task_is_named():
    model = model_for()
    model.set_active("made", head="b")
    with torch.no_grad():
        found = model(**tiny.inputs(model), output_hidden_states=True).last_hidden_state
    assert torch.equal(found, states(model, "b"))


def test_under_a_fusion_the_kept_stacks_follow_the_task():
    model = model_for()
    model.add_adapter("other", spec_of("pfeiffer", width=4))
    tiny.shake(model.adapters["other"], 0.3, seed=1)
    model.add_fusion("mix", registry.build("fusion", "adapterfusion", init_std=0.3), ["made", "other"])
    model.set_active(["made", "other"], fusion="mix", head="a")
    found = {task: states(model, task) for task in ("a", "b", "a")}
    assert not torch.allclose(found["a"], found["b"])
    assert torch.equal(states(model, "a"), found["a"])


def gradients(model, *tasks):
    model.zero_grad()
    for task in tasks:
        model(**tiny.inputs(model), labels=LABELS, task=task).loss.backward()
    return {name: p.grad.clone() for name, p in part(model, "made").named_parameters() if p.grad is not None}


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_generator_learns_from_every_task_and_an_embedding_from_its_own(checkpointing):
    model = model_for().double()
    model.train_only(adapters=["made"], heads=TASKS)
    model.train()
    if checkpointing:
        model.activation_checkpointing_enable()
    a, b, both = gradients(model, "a"), gradients(model, "b"), gradients(model, "a", "b")
    for name, gradient in both.items():
        torch.testing.assert_close(gradient, a[name] + b[name])
        assert a[name].any()
        assert b[name].any()
    rows = both["common.generator.task"]
    assert rows[0].any()
    assert rows[1].any()
    assert not rows[2].any()
    assert not a["common.generator.task"][1:].any()


def test_one_task_of_several_is_an_adapter_of_one_task():
    model, alone = model_for(), tiny.adapted()
    saved = part(model, "made")
    spec, state = saved.spec.of_task("b", saved.state_dict())
    assert spec == spec_of("hyper", width=6, embedding=5)
    alone.add_adapter("b", spec)
    store.load_strict(alone.adapters["b"], state, where="here")
    alone.set_active("b")
    alone.eval()
    assert torch.equal(states(alone, None), states(model, "b"))


def test_a_single_task_is_what_it_was_before_there_were_several():
    spec = spec_of("hyper", width=6)
    assert spec.for_tasks(["a"]) == spec
    model = model_for(("a",))
    assert embeddings(model).shape == (5,)
    tiny.add_head(model, "unheard")
    assert torch.equal(states(model, "a"), states(model, "unheard"))


@pytest.mark.parametrize("task", ["unheard", None])
def test_a_task_without_an_embedding_is_refused(task):
    model = model_for()
    tiny.add_head(model, "unheard")
    model.active_head = None
    with pytest.raises(PipelineError, match="each of a, b, c") as caught:
        states(model, task)
    assert caught.value.where == "task"


def test_a_copy_of_the_model_makes_the_same():
    model = model_for()
    assert torch.equal(states(deepcopy(model), "c"), states(model, "c"))
