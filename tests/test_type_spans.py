"""Answers as spans of a context."""

import random

import numpy as np
import pytest
import tiny
import torch
import typed

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.answers import best_exact, best_f1
from fusion_pipeline.tasks.types.span_qa import LOST, TYPE
from fusion_pipeline.training.encoding import encode_task

CARD = {"task_type": "span_qa"}


def rows(count=60):
    draw = random.Random(0)
    made = []
    for n in range(count):
        before = " ".join(draw.choice(["ab", "c"]) for _ in range(draw.randint(0, 5)))
        context = f"{before} zz{n} end".strip()
        answers = {"text": [f"zz{n}"], "answer_start": [context.index("zz")]}
        made.append({"context": context, "question": "what?", "answers": answers})
    return made


@pytest.mark.parametrize(
    ("said", "right", "f1", "exact"),
    [
        ("The cat.", ["a CAT"], 1, 1),
        ("black cat", ["cat"], 2 / 3, 0),
        ("dog", ["cat", "dog"], 1, 1),
        ("", ["cat"], 0, 0),
    ],
)
def test_answers_are_compared_by_their_words(said, right, f1, exact):
    assert best_f1(said, right) == pytest.approx(f1)
    assert best_exact(said, right) == exact


def test_the_labelled_tokens_spell_the_answer(tmp_path):
    data = typed.load(typed.folder(tmp_path / "t", rows(), **CARD))
    found = encode_task(data, tiny.adapted().info, None)["train"]
    for i, row in enumerate(data.splits["train"]):
        logits = np.zeros((found.lengths[i], 2))
        first, last = found.labels[i]
        logits[first, 0] = logits[last, 1] = 9.0
        assert TYPE.answer(logits, None, found, i).prediction == row["label"]["text"][0]


def test_an_answer_that_is_cut_off_teaches_nothing_and_is_said(tmp_path):
    data = typed.load(typed.folder(tmp_path / "t", rows(), **CARD))
    found = encode_task(data, tiny.adapted(max_length=16).info, None)["train"]
    lost = found.labels[:, 0] == LOST
    assert 0 < lost.sum() < len(found)
    assert f"{lost.sum()} of {len(found)} answers" in TYPE.notes(found)[0]
    assert TYPE.losses(torch.zeros(1, 5, 2), torch.tensor([[LOST, LOST]]), 1.0).tolist() == [0.0]


def test_padding_changes_no_loss():
    logits, labels = torch.randn(1, 5, 2), torch.tensor([[1, 3]])
    padded = torch.cat([logits, torch.randn(1, 3, 2)], 1)
    masked = TYPE.arrange(padded, torch.tensor([[1] * 5 + [0] * 3]), None)
    torch.testing.assert_close(TYPE.losses(masked, labels, 1.0), TYPE.losses(logits, labels, 1.0))


def test_a_whole_run_answers_out_of_the_context(tmp_path):
    metrics, predictions, said = typed.whole(typed.folder(tmp_path / "t", rows(), **CARD), tmp_path)
    assert set(metrics["test"]) == {"f1", "exact_match", "loss"}
    for row in (*predictions, *said):
        assert row["prediction"] in row["context"]
    exact = [best_exact(row["prediction"], row["label"]) for row in predictions]
    assert sum(exact) / len(exact) == pytest.approx(metrics["test"]["exact_match"])


def test_bad_rows_are_refused_with_their_line(tmp_path):
    good = rows()
    for answers, why in (
        ({"text": ["no"], "answer_start": [0]}, "does not stand at 0"),
        ({"text": [], "answer_start": []}, "no answers"),
        ({"text": [""], "answer_start": [0]}, "empty"),
        ("zz1", "that is no object"),
    ):
        with pytest.raises(PipelineError) as caught:
            typed.load(typed.folder(tmp_path / "t", [*good, good[0] | {"answers": answers}], **CARD))
        assert why in str(caught.value)
        assert "line 61" in str(caught.value)
