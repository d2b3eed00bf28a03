"""Distilled adapters: the loss, the artefact, what is told, what is refused."""

import json

import pytest
import tiny
import torch

from fusion_pipeline import AdaptedModel, store
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.softening import softened
from fusion_pipeline.tasks.types import task_type, type_names
from fusion_pipeline.tasks.types.token_classification import IGNORED

pytest_plugins = ("finished",)


def test_the_softened_divergence_is_the_textbook_one_and_zero_for_equals():
    draw = torch.Generator().manual_seed(0)
    teacher, student = torch.randn(2, 5, 3, generator=draw)
    p, q = ((logits / 3).softmax(-1) for logits in (teacher, student))
    assert torch.allclose(softened(teacher, student, 3.0), 9 * (p * (p / q).log()).sum(-1), atol=1e-5)
    assert torch.allclose(softened(teacher, teacher + 7, 3.0), torch.zeros(5), atol=1e-5)


LEAST = torch.finfo(torch.float32).min
DRAWN = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(1))
# A student's logits, its labels, and where an answer counts for nothing.
SHAPES = {
    "classification": (DRAWN[:, 0], torch.tensor([0, 1]), None),
    "regression": (DRAWN[:, 0, :1], torch.tensor([0.0, 1.0]), None),
    "multi_label_classification": (DRAWN[:, 0], torch.zeros(2, 2), None),
    "multiple_choice": (torch.tensor([[1.0, 2.0, LEAST], [0.5, -1.0, 2.0]]), torch.tensor([0, 1]), (0, 2)),
    "token_classification": (DRAWN, torch.tensor([[0, 1, IGNORED], [1, IGNORED, 0]]), (0, 4)),
    "span_qa": (DRAWN.index_fill(1, torch.tensor(2), LEAST), torch.tensor([[0, 1], [1, 1]]), (0, 4)),
}


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_every_type_says_how_far_a_student_is_from_its_teacher(name):
    logits, labels, nothing = SHAPES[name]
    kind = task_type(name)
    flat = logits.flatten(1)
    for said in (flat, torch.nn.functional.pad(flat, (0, 3), value=-100.0)):
        apart = kind.distances(said, logits, labels, 2.0, 1.0)
        assert apart.shape == (2,)
        assert apart.abs().max() < 1e-5
    moved = flat.clone()
    moved[0, 0] += 1
    apart = kind.distances(moved, logits, labels, 2.0, 1.0)
    assert apart[0] > 1e-3
    assert apart[1].abs() < 1e-5
    if nothing is not None:
        elsewhere = flat.clone()
        elsewhere[nothing] = 5.0
        assert kind.distances(elsewhere, logits, labels, 2.0, 1.0)[0].abs() < 1e-5


def test_every_type_there_is_can_teach():
    assert {name for name in type_names() if task_type(name).teaches} >= set(SHAPES)


def test_a_student_of_answers_alone_comes_nearer_to_its_teacher(made):
    rows = tiny.said(made.fusion)
    teacher = tiny.probabilities(AdaptedModel.load(made.fusion), rows)
    distances = []
    for name, rate in (("unmoved", 1e-9), ("near", 3e-3)):
        made.stage(
            "stage=distill",
            f"run={made.fusion}",
            f"name={name}",
            "distill.alpha=1",
            "adapter.width=8",
            "trainer.num_train_epochs=4",
            f"trainer.learning_rate={rate}",
        )
        said = tiny.probabilities(AdaptedModel.load(made.adapters / name), rows)
        distances.append(sum(abs(p["yes"] - q["yes"]) for p, q in zip(teacher, said, strict=True)))
    assert distances[1] < 0.7 * distances[0]


def test_a_distilled_adapter_is_an_artefact_like_any_other(made, capsys):
    words = ("stage=distill", f"run={made.fusion}", "distill.beta=0.5", "adapter=lora", "name=student")
    made.stage(*words, "trainer.max_steps=2")
    folder = made.adapters / "student"
    assert store.verify(folder, kind="adapter").parents[0]["name"] == "a"
    found = tiny.metrics(folder)
    assert found["teacher"]["test"] == pytest.approx(tiny.metrics(made.fusion)["test"])
    assert found["student"]["relative_speed"] > 0
    made.stage("stage=evaluate", f"run={folder}", columns=False)
    scored = json.loads((made.out / "evaluate" / "adapter-student.json").read_text())
    assert scored["test"] == pytest.approx(found["test"])
    capsys.readouterr()
    made.stage(*words, "trainer.max_steps=2")
    assert "is there already" in capsys.readouterr().out
    with pytest.raises(PipelineError, match=r"distill\.beta"):
        made.stage(*words, "trainer.max_steps=2", "distill.beta=0.1")


def test_without_a_teacher_s_share_the_student_is_trained_like_any_adapter(made):
    same = ("trainer.max_steps=3", "seed=4")
    made.stage("stage=distill", f"run={made.fusion}", "name=alone", "distill.alpha=0", *same)
    made.stage("stage=adapters", f"task={made.files['a']}", "name=plain", *same)
    one, other = (AdaptedModel.load(made.adapters / name) for name in ("alone", "plain"))
    assert all(
        torch.allclose(p, q, atol=1e-6)
        for p, q in zip(one.adapters.parameters(), other.adapters.parameters(), strict=True)
    )


@pytest.mark.parametrize("word", ["alpha=2", "temperature=0", "beta=-1"])
def test_weights_out_of_range_are_refused(made, word):
    with pytest.raises(PipelineError, match=r"distill\."):
        made.stage("stage=distill", f"run={made.fusion}", f"distill.{word}")


def test_a_dry_run_checks_and_writes_nothing(made, capsys):
    made.stage("stage=distill", f"run={made.fusion}", "name=dry", "dry_run=true")
    assert "nothing was trained" in capsys.readouterr().out
    assert not (made.adapters / "dry").exists()


def test_a_fusion_for_several_targets_becomes_one_adapter_with_a_head_for_each(made):
    both = f"target=[{made.files['a']},{made.files['b']}]"
    made.stage("stage=fusion", "adapters=[a,b]", both, "name=both", "trainer.max_steps=1")
    made.stage("stage=distill", f"run={made.out / 'fusion' / 'both'}", "trainer.max_steps=2")
    folder = made.adapters / "both-distilled"
    assert AdaptedModel.load(folder).heads.names() == ["a", "b"]
    made.stage("stage=evaluate", f"run={folder}", columns=False)


def test_values_are_distilled_too(made, tmp_path):
    file = tiny.write_csv(tmp_path / "size.csv", [(text, len(text) / 7) for text, _ in tiny.rows(40)])
    made.stage(
        "stage=fusion",
        "adapters=[a,b]",
        f"target={file}",
        "columns.type=regression",
        "trainer.max_steps=1",
    )
    made.stage("stage=distill", f"run={made.out / 'fusion' / 'size'}", "trainer.max_steps=2")
    assert "pearson" in tiny.metrics(made.adapters / "size-distilled")["teacher"]["test"]
