"""Cutting and drawing: seeded, stratified, said, and never the same text on two sides."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.data import TaskData, load_task
from fusion_pipeline.tasks.draw import draw_stratified, in_order, share_out
from fusion_pipeline.tasks.inputs import load_inputs
from fusion_pipeline.tasks.spec import ColumnsSpec, DataSpec, TaskSpec


def load(path, columns: ColumnsSpec | None = None, **data: object) -> TaskData:
    return load_task(str(path), data=DataSpec(**data), columns=columns or ColumnsSpec())


@pytest.fixture
def reviews(tmp_path):
    # 300 rows, 80/15/5 %, in the order of their classes: an unshuffled or unstratified cut would show.
    labels = ["a"] * 240 + ["b"] * 45 + ["c"] * 15
    path = tmp_path / "reviews.jsonl"
    path.write_text("".join(json.dumps({"text": f"s {i}", "label": y}) + "\n" for i, y in enumerate(labels)))
    return path


def texts(task: TaskData, split: str) -> set[str]:
    return {row["text"] for row in task.splits[split]}


def test_missing_splits_are_cut_off_in_proportion_and_said(reviews):
    task = load(reviews)
    assert task.sizes == {"train": 210, "validation": 30, "test": 60}
    for split, rows in task.splits.items():
        counts = Counter(row["label"] for row in rows)
        assert counts[0] / len(rows) == pytest.approx(0.8, abs=0.03), split
        assert counts[2] / len(rows) == pytest.approx(0.05, abs=0.03), split
    assert not texts(task, "train") & texts(task, "test")
    assert len(set.union(*(texts(task, split) for split in task.splits))) == 300
    assert "test: 20% of train cut off (stratified, seed 0): 60 rows" in task.notes
    assert "validation: 10% of train cut off (stratified, seed 0): 30 rows" in task.notes


def test_the_cut_depends_on_the_data_seed_alone(reviews):
    assert load(reviews).fingerprint == load(reviews).fingerprint
    assert texts(load(reviews), "test") != texts(load(reviews, seed=1), "test")


def test_rows_with_the_same_text_stay_together(tmp_path):
    path = tmp_path / "twice.jsonl"
    rows = [{"text": f"s {i % 50}", "label": i % 2} for i in range(400)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = load(path)
    assert not texts(task, "train") & (texts(task, "test") | texts(task, "validation"))
    assert not any("stand in train" in note for note in task.notes)


def test_rare_classes_stay_in_train_first(tmp_path):
    path = tmp_path / "rare.jsonl"
    labels = ["a"] * 40 + ["b"] * 3 + ["c"]
    path.write_text("".join(json.dumps({"text": f"s {i}", "label": y}) + "\n" for i, y in enumerate(labels)))
    task = load(path)
    assert {row["label"] for row in task.splits["train"]} == {0, 1, 2}
    assert {row["label"] for row in task.splits["test"]} == {0, 1}
    assert "test has no row of the class 'c'" in task.notes


def test_texts_repeated_across_given_splits_are_noted(tmp_path):
    train, test = tmp_path / "a.csv", tmp_path / "b.csv"
    train.write_text("text,label\n" + "".join(f"s {i},{i % 2}\n" for i in range(20)))
    test.write_text("text,label\ns 0,0\ns 1,1\nnew,1\n")
    task = load(train, ColumnsSpec(test=str(test), validation=str(test)))
    assert "2 of 3 test texts also stand in train" in task.notes


def test_caps_draw_stratified_and_keep_every_class(reviews):
    task = load(reviews, max_train=20, max_test=10)
    whole = load(reviews)
    assert task.sizes == {"train": 20, "validation": 30, "test": 10}
    assert Counter(row["label"] for row in task.splits["train"]) == {0: 16, 1: 3, 2: 1}
    assert texts(task, "train") < texts(whole, "train")
    assert "train: 20 of 210 rows drawn (seed 0)" in task.notes
    assert load(reviews, max_train=10**6).fingerprint == whole.fingerprint
    with pytest.raises(PipelineError, match="less than one row per class"):
        load(reviews, max_train=2)


@pytest.mark.parametrize("count", [1, 3, 7, 20, 99])
@pytest.mark.parametrize("leave", [0, 1])
def test_shares_keep_to_the_count_and_leave_what_must_stay(count, leave):
    sizes = {"a": 70, "b": 20, "c": 8, "d": 1}
    shares = share_out(sizes, count, leave)
    assert all(0 <= shares[s] <= sizes[s] - leave for s in sizes)
    assert all(shares[s] >= 1 for s in sizes if sizes[s] > leave)
    room = sum(size - leave for size in sizes.values())
    least = sum(size > leave for size in sizes.values())
    assert sum(shares.values()) == min(max(count, least), room)


def test_a_draw_is_the_same_for_the_same_seed_only():
    strata = [0, 1] * 50
    drawn = draw_stratified(strata, 20, leave=0, seed="7")
    assert drawn == draw_stratified(strata, 20, leave=0, seed="7") == sorted(drawn)
    assert drawn != draw_stratified(strata, 20, leave=0, seed="8")
    assert Counter(strata[i] for i in drawn) == {0: 10, 1: 10}


def test_the_fingerprint_changes_with_any_row_and_not_with_the_name(tmp_path):
    def prints(name: str, rows: list[str]) -> str:
        path = tmp_path / name
        path.write_text("text,label\n" + "".join(rows))
        return load(path, ColumnsSpec(validation=str(path), test=str(path))).fingerprint

    rows = [f"s {i},{'ab'[i % 2]}\n" for i in range(12)]
    base = prints("a.csv", rows)
    assert base == prints("b.csv", rows)
    changed = [
        [*rows[:-1], "s 11,a\n"],  # a label
        [*rows[:-1], "s 12,b\n"],  # a text
        rows[:-1],  # a row
        rows[::-1],  # the order
        [row.replace(",b", ",c") for row in rows],  # a class's name
    ]
    assert len({base, *(prints("c.csv", other) for other in changed)}) == 6


def test_inputs_need_texts_and_no_labels(tmp_path):
    pair = TaskSpec(name="p", type="regression", labels=None, metric="pearson", text=("text", "text_pair"))
    path = tmp_path / "in.csv"
    path.write_text('text,text_pair,extra\nfirst,"second, with comma",x\n')
    assert load_inputs(str(path), pair, ColumnsSpec()) == [
        {"text": "first", "text_pair": "second, with comma"}
    ]
    swapped = load_inputs(str(path), pair, ColumnsSpec(text="extra", text_pair="text"))
    assert swapped == [{"text": "x", "text_pair": "first"}]
    path.write_text("text,text_pair\nfirst,\n")
    with pytest.raises(PipelineError, match="empty 'text_pair'"):
        load_inputs(str(path), pair, ColumnsSpec())
    path.write_text("text\nfirst\n")
    with pytest.raises(PipelineError, match=r"columns\.text_pair"):
        load_inputs(str(path), pair, ColumnsSpec())


def test_thirty_thousand_rows_load_in_a_moment(tmp_path):
    import time

    path = tmp_path / "big.jsonl"
    path.write_text(
        "".join(json.dumps({"text": f"row {i} " * 8, "label": i % 3}) + "\n" for i in range(30_000))
    )
    start = time.perf_counter()
    load(path)
    assert time.perf_counter() - start < 6  # under a second alone; room for a busy machine


def test_few_rows_are_nested_in_proportion_and_hold_every_class():
    strata = ["a"] * 60 + ["b"] * 30 + ["c"] * 2
    order = in_order(strata, seed="0")
    assert sorted(order) == list(range(92))
    assert {strata[i] for i in order[:3]} == {"a", "b", "c"}
    for size in (12, 40, 70):
        share = sum(strata[i] == "a" for i in order[:size])
        assert abs(share - size * 60 / 92) <= 1.5
    assert in_order(strata, seed="1") != order


def test_train_sizes_cut_train_alone_and_by_draw(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("text,label\n" + "".join(f"s {i},{i % 2}\n" for i in range(60)))

    def splits(**values):
        return load(path, **values).splits

    def texts(found):
        return {row["text"] for row in found["train"]}

    whole = splits()
    small, large, other = (splits(train_sizes={"x": n}, draw=d) for n, d in ((4, 1), (9, 1), (4, 2)))
    assert texts(small) < texts(large) < texts(whole)
    assert (len(small["train"]), len(large["train"])) == (4, 9)
    assert texts(other) != texts(small)
    assert all(one[split] == whole[split] for one in (small, large) for split in ("validation", "test"))
    with pytest.raises(PipelineError, match="less than one row per class"):
        splits(train_sizes={"x": 1})
    with pytest.raises(PipelineError, match="train has 42 rows"):
        splits(train_sizes={"x": 43})
