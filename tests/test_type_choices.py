"""Multiple choice: sequences of a row, and rows with different numbers of choices."""

import random

import pytest
import tiny
import torch
import typed

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.heads import HeadSpec
from fusion_pipeline.heads.choices import by_row, sequence_ids
from fusion_pipeline.training.batches import Collator, Examples
from fusion_pipeline.training.encoding import encode_task

CARD = {"task_type": "multiple_choice"}


def rows(count=60):
    draw = random.Random(0)
    made = []
    for n in range(count):
        choices = [draw.choice(["bad", "poor", "no"]) for _ in range(2 + n % 3)]
        label = draw.randrange(len(choices))
        choices[label] = "zz"
        made.append({"context": f"c{n}", "question": "q" * (n % 4), "choices": choices, "label": label})
    return made


def test_scores_go_to_their_rows():
    choices = torch.tensor([[0, 1, -1], [2, 3, 4]])
    scores = by_row(torch.arange(5.0)[:, None], choices)
    assert scores[0, :2].tolist() == [0, 1]
    assert scores[1].tolist() == [2, 3, 4]
    assert torch.softmax(scores, -1)[0, 2] == 0
    assert sequence_ids(torch.tensor([7, -1]), choices, 5).tolist() == [7, 7, -1, -1, -1]


def test_a_batch_scores_each_choice_as_it_would_alone(tmp_path):
    data = typed.load(typed.folder(tmp_path / "t", rows(), **CARD))
    model = tiny.adapted(pooling="mean")
    model.add_head("t", HeadSpec(type="choices", dropout=0.0))
    model.set_active(None, head="t")
    model.eval()
    found = encode_task(data, model.info, None)["train"]
    examples, collate = Examples([found]), Collator(pad_id=0)
    batch = collate([examples[(0, i, True)] for i in range(6)])
    out = model(**batch)
    assert out.logits.shape == (6, 4)
    for i in range(6):
        alone = model(**collate([examples[(0, i, True)]]))
        count = len(data.splits["train"][i]["choices"])
        torch.testing.assert_close(out.logits[i, :count], alone.logits[0])
    assert found.lengths[0] == max(len(one["input_ids"]) for one in found.example(0)["sequences"])


def test_a_filler_counts_for_nothing(tmp_path):
    data = typed.load(typed.folder(tmp_path / "t", rows(), **CARD))
    model = tiny.adapted(pooling="mean")
    model.add_head("t", HeadSpec(type="choices", dropout=0.0))
    model.set_active(None, head="t")
    examples = Examples([encode_task(data, model.info, None)["train"]])
    collate = Collator(pad_id=0)
    alone = model(**collate([examples[(0, 0, True)]])).loss
    filled = model(**collate([examples[(0, 0, True)], examples[(0, 1, False)]])).loss
    torch.testing.assert_close(alone, filled)


def test_a_whole_run_chooses(tmp_path):
    metrics, predictions, said = typed.whole(typed.folder(tmp_path / "t", rows(), **CARD), tmp_path)
    right = [row["label"] == row["prediction"] for row in predictions]
    assert sum(right) / len(right) == pytest.approx(metrics["test"]["accuracy"])
    for row in (*predictions, *said):
        assert len(row["probabilities"]) == len(row["choices"])
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"label": 3, "choices": ["a", "b"]}, "no position in its 2 choices"),
        ({"choices": ["a"]}, "two choices"),
        ({"choices": ["a", ""]}, "empty choice"),
        ({"context": "", "question": " "}, "neither context nor question"),
    ],
)
def test_bad_rows_are_refused_with_their_line(tmp_path, row, why):
    good = rows()
    with pytest.raises(PipelineError) as caught:
        typed.load(typed.folder(tmp_path / "t", [*good, good[0] | row], **CARD))
    assert why in str(caught.value)
    assert "line 61" in str(caught.value)
