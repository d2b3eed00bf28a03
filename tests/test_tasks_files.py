"""One's own data file, in every format, without any yaml."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pytest

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.data import TaskData, load_task, load_tasks
from fusion_pipeline.tasks.spec import ColumnsSpec, DataSpec

ROWS = [{"body": f'review, number {i} "quoted"\nline two', "stars": 1 + i % 5} for i in range(50)]
COLUMNS = ColumnsSpec(text="body", label="stars")


def as_csv(delimiter: str = ",") -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, ["body", "stars"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return out.getvalue().encode()


def as_json() -> bytes:
    return "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def as_parquet() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), out)
    return out.getvalue()


def load(value: Path | str, columns: ColumnsSpec = COLUMNS, **data: object) -> TaskData:
    return load_task(str(value), data=DataSpec(**data), columns=columns)


def write_json(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def labelled(labels: list, text: str = "sentence") -> list[dict]:
    return [{"text": f"{text} {i}", "label": label} for i, label in enumerate(labels)]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".csv", as_csv()),
        (".tsv", as_csv("\t")),
        (".jsonl", as_json()),
        (".ndjson", as_json()),
        (".parquet", as_parquet()),
    ],
)
def test_the_same_rows_in_every_format_are_the_same_task(tmp_path, suffix, content, packed):
    path = tmp_path / f"my reviews{suffix}{'.gz' if packed else ''}"
    path.write_bytes(gzip.compress(content) if packed else content)
    task = load(path)
    reference = tmp_path / "reference.jsonl"
    reference.write_bytes(as_json())
    assert task.spec.name == "my_reviews"
    assert task.source == f"file {path}"
    assert task.spec.labels == ("1", "2", "3", "4", "5")
    assert task.fingerprint == load(reference).fingerprint
    assert {row["text"] for rows in task.splits.values() for row in rows} == {row["body"] for row in ROWS}
    for rows in task.splits.values():
        for row in rows:
            number = int(row["text"].split()[2])
            assert row["label"] == number % 5  # stars 1..5 are classes 0..4 in order


def test_a_byte_order_mark_and_windows_line_ends_are_read_over(tmp_path):
    path = tmp_path / "excel.csv"
    lines = ["text,label", *(f"sentence {i},{'yes' if i % 2 else 'no'}" for i in range(20))]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    task = load(path, ColumnsSpec())
    assert task.spec.labels == ("no", "yes")
    assert sum(task.sizes.values()) == 20


def test_a_field_of_a_megabyte_is_read_and_the_csv_module_keeps_its_limit(tmp_path):
    before = csv.field_size_limit()
    path = tmp_path / "long.csv"
    path.write_text("text,label\n" + "".join(f"{'word ' * 200_000}{i},{i % 2}\n" for i in range(10)))
    task = load(path, ColumnsSpec())
    assert max(len(row["text"]) for row in task.splits["train"]) > 10**6
    assert csv.field_size_limit() == before


def test_unquoted_tsv_with_stray_quotes_is_read_plain_and_says_so(tmp_path):
    path = tmp_path / "glue.tsv"
    path.write_text(
        'text\tlabel\n"No," he said {0}\t0\nfine\t1\n' + "".join(f"s {i}\t{i % 2}\n" for i in range(20))
    )
    task = load(path, ColumnsSpec())
    texts = {row["text"] for rows in task.splits.values() for row in rows}
    assert '"No," he said {0}' in texts
    assert any("quotes read as plain characters" in note for note in task.notes)


def test_a_line_separator_inside_a_json_text_does_not_end_the_line(tmp_path):
    path = tmp_path / "data.jsonl"
    lines = [json.dumps({"text": f"one\u2028two {i}", "label": i % 2}, ensure_ascii=False) for i in range(12)]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert sum(load(path, ColumnsSpec()).sizes.values()) == 12


def test_files_for_validation_and_test_are_taken_as_they_are(tmp_path):
    train = write_json(tmp_path / "train.jsonl", labelled(["a", "b"] * 10))
    validation = write_json(tmp_path / "dev.jsonl", labelled(["a", "b"], "dev"))
    test = tmp_path / "test.csv"
    test.write_text("text,label\nlast,b\n")
    task = load(train, ColumnsSpec(validation=str(validation), test=str(test)))
    assert task.sizes == {"train": 20, "validation": 2, "test": 1}
    assert task.splits["test"] == [{"text": "last", "label": 1}]


@pytest.mark.parametrize(
    ("labels", "type_", "names"),
    [
        (["neg", "pos"], "classification", ("neg", "pos")),
        ([0, 1, 2], "classification", ("0", "1", "2")),
        (["0", "1"], "classification", ("0", "1")),
        ([1.0, 3.0, 5.0], "classification", ("1", "3", "5")),
        ([True, False], "classification", ("false", "true")),
        ([-1, 1], "classification", ("-1", "1")),
        ([10, 9], "classification", ("9", "10")),
        (["007", "008"], "classification", ("007", "008")),
        ([" pos ", "neg"], "classification", ("neg", "pos")),
        ([0.5, 1.0, 2.25], "regression", None),
        (["3.5", "4", "1e-1"], "regression", None),
    ],
)
def test_type_and_classes_are_inferred_from_the_labels(tmp_path, labels, type_, names):
    task = load(write_json(tmp_path / "data.jsonl", labelled(labels * 10)), ColumnsSpec())
    assert (task.spec.type, task.spec.labels) == (type_, names)
    assert task.spec.metric == ("accuracy" if names else "pearson")


def test_many_whole_numbers_are_scores_or_classes_as_the_person_says(tmp_path):
    path = write_json(tmp_path / "data.jsonl", labelled(list(range(30)) * 4))
    assert load(path, ColumnsSpec(type="regression")).spec.labels is None
    assert len(load(path, ColumnsSpec(type="classification")).spec.labels) == 30


@pytest.mark.parametrize(
    ("values", "names", "expected"),
    [
        (["neg", "pos"], ["pos", "neg"], [1, 0]),  # values are names, in the order that is given
        ([0, 1], ["bad", "good"], [0, 1]),  # numbers are positions
        ([1, 2, 3], [3, 2, 1], [2, 1, 0]),  # names that are numbers
        (["1", "n/a"], ["n/a", "1"], [1, 0]),  # numbers mixed with words, every class listed
        ([True, False], [False, True], [1, 0]),
        ([0.5, 1], [0.5, 1.0], [0, 1]),
    ],
)
def test_named_labels_give_names_and_order(tmp_path, values, names, expected):
    path = write_json(tmp_path / "data.jsonl", labelled(values * 10))
    task = load(path, ColumnsSpec(labels=tuple(names)))
    got = {row["text"]: row["label"] for rows in task.splits.values() for row in rows}
    assert [got[f"sentence {i}"] for i in range(len(values))] == expected
    assert len(task.spec.labels) == len(names)


def test_a_second_text_column_is_found_by_its_usual_name_or_named(tmp_path):
    rows = [{"text": f"a {i}", "text_pair": f"b {i}", "label": i % 2} for i in range(12)]
    usual = load(write_json(tmp_path / "usual.jsonl", rows), ColumnsSpec())
    other = [{"q": r["text"], "p": r["text_pair"], "label": r["label"]} for r in rows]
    named = load(write_json(tmp_path / "other.jsonl", other), ColumnsSpec(text="q", text_pair="p"))
    single = load(tmp_path / "usual.jsonl", ColumnsSpec(text="text"))
    assert usual.spec.has_pair
    assert usual.splits["train"][0].keys() == {"text", "text_pair", "label"}
    assert usual.fingerprint == named.fingerprint
    assert not single.spec.has_pair


def test_columns_go_to_the_path_among_several_tasks(tmp_path):
    path = write_json(tmp_path / "mine.jsonl", [{"body": f"x {i}", "label": i % 2} for i in range(12)])
    sentiment, mine = load_tasks(["sentiment", str(path)], data=DataSpec(), columns=ColumnsSpec(text="body"))
    assert (sentiment.spec.name, mine.spec.name) == ("sentiment", "mine")


@pytest.mark.parametrize("values", [["sentiment", "nli"], ["sentiment", "sentiment"]])
def test_columns_without_a_taker_and_names_twice_are_refused(values):
    columns = ColumnsSpec(text="body") if len(set(values)) > 1 else ColumnsSpec()
    with pytest.raises(PipelineError):
        load_tasks(values, data=DataSpec(), columns=columns)


def test_one_validation_file_is_not_shared_by_two_data_files(tmp_path):
    paths = [str(write_json(tmp_path / f"{n}.jsonl", labelled([0, 1] * 6))) for n in "ab"]
    with pytest.raises(PipelineError, match="validation"):
        load_tasks(paths, data=DataSpec(), columns=ColumnsSpec(validation=paths[0]))
    assert len(load_tasks(paths, data=DataSpec(), columns=ColumnsSpec(text="text"))) == 2
