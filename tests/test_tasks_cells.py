"""Plain files of the types that read lists, records or several columns."""

import csv
import json

import pytest
import tiny

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.columns import ColumnsSpec
from fusion_pipeline.tasks.data import load_task
from fusion_pipeline.tasks.inputs import load_inputs
from fusion_pipeline.tasks.spec import DataSpec


def table(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def load(path, **columns):
    return load_task(str(path), data=DataSpec(), columns=ColumnsSpec(**columns))


def everything(data):
    return [row for rows in data.splits.values() for row in rows]


def refusal(path, **columns):
    with pytest.raises(PipelineError) as caught:
        load(path, **columns)
    return str(caught.value)


# --- multi-label --------------------------------------------------------------------------------------

LABELS = [[], ["a"], ["a", "b c"], ["b c"]]


@pytest.mark.parametrize("separator", [";", "|", None])
def test_labels_are_a_json_list_or_have_a_separator(tmp_path, separator):
    spelled = [json.dumps(one) if separator is None else f" {separator} ".join(one) for one in LABELS]
    path = table(tmp_path / "t.csv", ["body", "tags"], [(f"text {i}", spelled[i % 4]) for i in range(40)])
    data = load(
        path,
        type="multi_label_classification",
        text="body",
        label="tags",
        **({"separator": separator} if separator else {}),
    )
    assert data.spec.labels == ("a", "b c")
    wanted = {f"text {i}": [("a", "b c").index(name) for name in LABELS[i % 4]] for i in range(40)}
    assert {row["text"]: row["label"] for row in everything(data)} == wanted


def test_a_label_that_is_no_list_is_refused_with_its_line(tmp_path):
    rows = [(f"text {i}", '["a", "b"]') for i in range(20)]
    path = table(tmp_path / "t.csv", ["text", "label"], [*rows, ("text", "a;b")])
    said = refusal(path, type="multi_label_classification")
    assert "line 22" in said
    assert "columns.separator" in said


# --- tagging ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("json_lists", [True, False])
def test_words_and_tags_are_json_lists_or_have_a_separator(tmp_path, json_lists):
    words, tags = ["Ann", "saw", "Bob"], ["B-p", "O", "B-p"]
    spell = json.dumps if json_lists else " ".join
    rows = [(spell([*words, str(i)]), spell([*tags, "O"])) for i in range(20)]
    path = table(tmp_path / "t.csv", ["words", "labels"], rows)
    columns = {} if json_lists else {"separator": " "}
    data = load(path, type="token_classification", tokens="words", label="labels", **columns)
    assert data.spec.labels == ("B-p", "O")
    assert sorted(row["tokens"][3] for row in everything(data)) == sorted(str(i) for i in range(20))
    assert all(row["tokens"][:3] == words and row["label"] == [0, 1, 0, 1] for row in everything(data))


# --- multiple choice ----------------------------------------------------------------------------------


def test_choices_have_a_column_each_and_labels_a_position_a_letter_or_the_text(tmp_path):
    third, right = ("green", ""), ("0", "b", "red")
    rows = [(f"q{n}", "red", "blue", third[n % 2], right[n % 3]) for n in range(30)]
    columns = {"question": "asked", "choices": ("one", "two", "three"), "label": "right"}
    path = table(tmp_path / "t.csv", ["asked", "one", "two", "three", "right"], rows)
    data = load(path, type="multiple_choice", **columns)
    for row in everything(data):
        number = int(row["question"][1:])
        assert row["choices"] == ["red", "blue"] + ([] if number % 2 else ["green"])
        assert row["label"] == (0, 1, 0)[number % 3]


def test_a_gap_between_choices_and_a_letter_beyond_them_are_refused(tmp_path):
    header = ["context", "question", "a", "b", "c", "label"]
    good = [("c", "q", "x", "y", "z", 0)] * 20
    columns = {"type": "multiple_choice", "choices": ("a", "b", "c")}
    said = refusal(table(tmp_path / "t.csv", header, [*good, ("c", "q", "x", "", "z", 0)]), **columns)
    assert "empty choice" in said
    assert "line 22" in said
    said = refusal(table(tmp_path / "t.csv", header, [*good, ("c", "q", "x", "y", "", "C")]), **columns)
    assert "'C'" in said
    said = refusal(table(tmp_path / "t.csv", header, good), **{**columns, "choices": ("a", "d")})
    assert "no column 'd'" in said


# --- spans --------------------------------------------------------------------------------------------


def test_an_answer_is_a_text_and_where_it_starts(tmp_path):
    rows = [(f"Ann and Bob and Ann {n}", "who?", "Ann", 16) for n in range(15)]
    rows += [(f"Cid and Bob {n}", "who?", "Bob", "") for n in range(15)]
    path = table(tmp_path / "t.csv", ["passage", "q", "a", "at"], rows)
    columns = {"context": "passage", "question": "q", "answer": "a", "answer_start": "at", "type": "span_qa"}
    data = load(path, **columns)
    for row in everything(data):
        start = {"Ann": 16, "Bob": 8}[row["label"]["text"][0]]
        assert row["label"]["answer_start"] == [start]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (("Ann and Ann", "who?", "Ann", ""), "occurs 2 times"),
        (("Ann and Bob", "who?", "Cid", ""), "does not occur"),
        (("Ann and Bob", "who?", "Bob", 3), "does not stand at 3"),
        (("Ann and Bob", "who?", "Bob", "x"), "no whole number"),
        (("Ann and Bob", "who?", "", ""), "no answer"),
    ],
)
def test_bad_answers_are_refused_with_their_line(tmp_path, row, why):
    rows = [(f"Ann {n}", "who?", "Ann", 0) for n in range(20)]
    path = table(tmp_path / "t.csv", ["context", "question", "answer", "at"], [*rows, row])
    said = refusal(path, type="span_qa", answer="answer", answer_start="at")
    assert why in said
    assert "line 22" in said


# --- what goes with what ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "hint"),
    [
        ({"context": "a"}, "columns.type=multiple_choice or span_qa"),
        ({"choices": ("a", "b")}, "columns.type=multiple_choice"),
        ({"separator": ";", "type": "classification"}, "multi_label_classification"),
        ({"tokens": "a", "type": "span_qa"}, "columns.type=token_classification"),
        ({"answer": "a", "type": "multiple_choice"}, "columns.type=span_qa"),
    ],
)
def test_a_column_that_the_type_has_not_is_refused(tmp_path, columns, hint):
    path = table(tmp_path / "t.csv", ["text", "a", "b", "label"], [("x", "y", "z", i % 2) for i in range(20)])
    assert hint in refusal(path, **columns)


@pytest.mark.parametrize(
    "columns",
    [
        {"choices": ()},
        {"choices": ("a",)},
        {"choices": ("a", "a")},
        {"choices": 3},
        {"context": "a", "question": "a"},
        {"answer_start": "a"},
        {"separator": ""},
    ],
)
def test_columns_that_cannot_be_meant_are_refused(columns):
    with pytest.raises(PipelineError):
        ColumnsSpec(**columns)


def test_a_plain_file_trains_and_predicts_through_the_command_line(tmp_path):
    rows = [("", f"which {n}?", "no", "zz", 1) for n in range(30)]
    path = table(tmp_path / "t.csv", ["c", "q", "one", "two", "right"], rows)
    words = (
        "columns.context=c",
        "columns.question=q",
        "columns.choices=[one,two]",
        f"output_root={tmp_path}",
    )
    more = ("columns.type=multiple_choice", "columns.label=right", "trainer.max_steps=2")
    tiny.stage("stage=adapters", f"task={path}", *words, *more)
    out = tmp_path / "out.jsonl"
    tiny.stage("stage=predict", f"run={tmp_path}/adapters/t", f"input={path}", f"output={out}", *words)
    said = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["choices"] for row in said] == [["no", "zz"]] * 30
    tiny.stage("stage=evaluate", f"run={tmp_path}/adapters/t", f"output_root={tmp_path}")


def test_inputs_need_no_label(tmp_path):
    path = table(tmp_path / "t.csv", ["words"], [("a b",), ("c",)])
    spec = load(
        table(tmp_path / "l.csv", ["w", "t"], [("a b", "X Y")] * 20), type="token_classification", tokens="w",
        label="t", separator=" ",
    ).spec  # fmt: skip
    rows = load_inputs(str(path), spec, ColumnsSpec(tokens="words", separator=" "))
    assert rows == [{"tokens": ["a", "b"]}, {"tokens": ["c"]}]
