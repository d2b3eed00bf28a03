"""Bad data: one clear error that says what, where (file and line) and what to try."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.data import load_task
from fusion_pipeline.tasks.spec import ColumnsSpec, DataSpec

GOOD = "".join(f"fine sentence {i},{i % 2}\n" for i in range(20))
HEAD = "text,label\n"


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def many(labels: list) -> str:
    return lines(*({"text": f"s {i}", "label": label} for i, label in enumerate(labels)))


def refusal(path: Path, columns: ColumnsSpec) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        load_task(str(path), data=DataSpec(), columns=columns)
    assert caught.value.where
    return caught.value


# file name, content, columns, what the error has to say, where
CASES = {
    "empty file": ("a.csv", "", {}, ["empty"], "a.csv"),
    "header only": ("a.csv", HEAD, {}, ["no rows"], "a.csv"),
    "blank json": ("a.jsonl", "\n\n", {}, ["no rows"], "a.jsonl"),
    "missing column": (
        "a.csv",
        HEAD + GOOD,
        {"text": "txt"},
        ["'txt'", "text, label", "did you mean 'text'", "columns.text"],
        "a.csv",
    ),
    "semicolons": ("a.csv", "text;label\nx;1\n", {}, ["separated"], "a.csv"),
    "header twice": ("a.csv", "text,text,label\nx,y,1\n", {}, ["'text'", "more than once"], "line 1"),
    "too many fields": ("a.csv", HEAD + "one, two,1\n" + GOOD, {}, ["3 fields", "header has 2"], "line 2"),
    "quote left open": ("a.csv", HEAD + GOOD + '"open,1\nnext,0\n', {}, ["broken", "quote"], "line 22"),
    "broken json": ("a.jsonl", many([0, 1]) + '{"text": \n', {}, ["not JSON"], "line 3"),
    "json that is no object": ("a.jsonl", many([0, 1]) + "[1]\n", {}, ["not an object"], "line 3"),
    "json list": ("a.json", '[{"text": "a"}]', {}, ["one JSON list"], "a.json"),
    "json field missing": ("a.jsonl", many([0, 1]) + lines({"label": 1}), {}, ["no 'text'"], "line 3"),
    "empty text": ("a.csv", HEAD + GOOD + " ,1\n", {}, ["empty 'text'", "1 row of 21"], "line 22"),
    "text that is a number": (
        "a.jsonl",
        lines({"text": 7, "label": 1}),
        {},
        ["int", "text should be"],
        "line 1",
    ),
    "text that is a list": ("a.jsonl", lines({"text": ["a"], "label": 1}), {}, ["list"], "line 1"),
    "half a surrogate": ("a.jsonl", '{"text": "\\ud83d", "label": 1}\n', {}, ["broken character"], "line 1"),
    "numbers for text": ("a.csv", "text,label\n" + "3.5,1\n" * 9, {}, ["numbers only"], "line 2"),
    "no label": ("a.csv", HEAD + GOOD + "x,\n", {}, ["no label"], "line 22"),
    "null label": ("a.jsonl", many([0, 1, None]), {}, ["no label"], "line 3"),
    "multi-label": ("a.jsonl", many([[0, 1]]), {}, ["multi_label_classification"], "line 1"),
    "numbers and words": (
        "a.csv",
        HEAD + GOOD + "x,five\n",
        {},
        ["mixes numbers and words", "'five'", "columns.labels"],
        "line 22 has 'five'",
    ),
    "numbers and words, type said": (
        "a.csv",
        HEAD + GOOD + "x,five\n",
        {"type": "classification"},
        ["mixes numbers and words"],
        "line 22",
    ),
    "one class": ("a.jsonl", many([1] * 20), {}, ["single class"], "line 1"),
    "classes that differ in case": ("a.jsonl", many(["Pos", "pos", "neg"]), {}, ["'Pos'", "'pos'"], "line 1"),
    "many whole numbers": ("a.jsonl", many(list(range(21)) * 3), {}, ["columns.type"], "columns.label"),
    "free text for a label": ("a.jsonl", many([f"w{i}" for i in range(30)]), {}, ["hardly"], "columns.label"),
    "fractions as classes": (
        "a.jsonl",
        many([0.5, 1]),
        {"type": "classification"},
        ["fractions", "regression"],
        "line 1",
    ),
    "word in regression": (
        "a.jsonl",
        many([0.5, 1.5, "good"]),
        {"type": "regression"},
        ["'good'", "not a number"],
        "line 3",
    ),
    "nan in regression": ("a.csv", HEAD + "x,0.5\ny,nan\n", {}, ["nan", "not a finite"], "line 3"),
    "infinity in regression": ("a.jsonl", '{"text": "x", "label": Infinity}\n', {}, ["inf"], "line 1"),
    "label not listed": ("a.jsonl", many(["a", "b", "c"]), {"labels": ("a", "b")}, ["'c'"], "line 3"),
    "label out of range": (
        "a.jsonl",
        many([0, 1, 2]),
        {"labels": ("no", "yes")},
        ["out of the range 0 to 1"],
        "line 3",
    ),
    "position beside number names": (
        "a.jsonl",
        many([0, 1]),
        {"labels": ("1", "2")},
        ["not one of"],
        "line 1",
    ),
    "class absent from train": (
        "a.jsonl",
        many(["a", "b"] * 10),
        {"labels": ("a", "b", "c")},
        ["no row of train has the class 'c'"],
        "a.jsonl",
    ),
    "too few rows": ("a.jsonl", many(["a", "b"]), {}, ["too few", "columns.test"], "a.jsonl"),
    "unknown format": ("a.txt", "hello", {}, ["not a data file", ".csv"], "a.txt"),
    "not parquet": ("a.parquet", "hello", {}, ["not Parquet"], "a.parquet"),
    "not gzip": ("a.csv.gz", HEAD + GOOD, {}, ["gzip"], "a.csv.gz"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_file_is_refused_with_place_and_reason(tmp_path, monkeypatch, case):
    name, content, columns, said, where = CASES[case]
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(content, encoding="utf-8")
    error = refusal(Path(name), ColumnsSpec(**columns))
    assert where in error.where
    for part in said:
        assert part in str(error)


@pytest.mark.parametrize(
    ("content", "said", "line"),
    [
        (f"{HEAD}{GOOD}caf\xe9,1\n".encode("latin-1"), ["0xe9", "WINDOWS-1252", "iconv"], "line 22"),
        (f"{HEAD}{GOOD}".encode("utf-16"), ["UTF-16", "iconv"], "line 1"),
        (f"{HEAD}{GOOD}".encode("utf-16-le"), ["NUL", "UTF-16LE"], "line 1"),
    ],
)
def test_wrong_encoding_names_byte_line_and_conversion(tmp_path, content, said, line):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    error = refusal(path, ColumnsSpec())
    assert line in error.where
    for part in said:
        assert part in str(error)


def test_cut_off_gzip_is_refused(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress((HEAD + GOOD).encode())[:-12])
    assert "cut off" in str(refusal(path, ColumnsSpec()))


def test_missing_file_is_refused(tmp_path):
    assert "no such file" in str(refusal(tmp_path / "gone.csv", ColumnsSpec()))


def test_the_first_bad_rows_are_shown_and_all_are_counted(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(HEAD + GOOD + ",1\n" * 8)
    message = str(refusal(path, ColumnsSpec()))
    assert "8 rows of 28" in message
    assert "line 22 has an empty 'text'" in message
    assert "and 3 more" in message


def test_a_label_that_only_the_test_file_has_is_refused_with_its_line(tmp_path):
    train, test = tmp_path / "a.jsonl", tmp_path / "t.jsonl"
    train.write_text(many(["a", "b"] * 10))
    test.write_text(many(["a", "zebra"]))
    error = refusal(train, ColumnsSpec(test=str(test)))
    assert "'zebra'" in str(error)
    assert f"{test}, line 2" in error.where


def test_lines_are_counted_over_fields_with_line_breaks(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(HEAD + '"one\ntwo\nthree",1\n' + GOOD + ",0\n")
    assert refusal(path, ColumnsSpec()).where.endswith("line 25")
