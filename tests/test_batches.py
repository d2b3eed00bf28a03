"""Batches: every example once, one task at a time, the same plan however many ranks share it."""

from collections import Counter

import numpy as np
import pytest
import tiny
import torch

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.training.batches import Collator, Examples, MixSpec, TaskBatches
from fusion_pipeline.training.encoding import encode_task

SIZES = [(41,), (17, 64), (1, 30, 9), (8, 16)]
EVERY = [
    {"shuffle": True, "by_length": True},
    {"shuffle": True, "by_length": False},
    {"shuffle": False, "by_length": True},
    {"shuffle": False, "by_length": False},
]


def batches(sizes, *, world=1, rank=0, batch_size=8, **options):
    return TaskBatches(
        lengths=tiny.lengths(*sizes), batch_size=batch_size // world, world=world, rank=rank, **options
    )


def all_ranks(sizes, world, **options):
    """For each step, the batch of each rank."""
    return list(zip(*(batches(sizes, world=world, rank=r, **options) for r in range(world)), strict=True))


def real(batch):
    return [(task, index) for task, index, counts in batch if counts]


@pytest.mark.parametrize("options", EVERY)
@pytest.mark.parametrize("sizes", SIZES)
def test_an_epoch_has_every_example_once_in_batches_of_one_task(sizes, options):
    steps = list(batches(sizes, **options))
    assert len(steps) == len(batches(sizes, **options))
    assert all(len({task for task, _, _ in batch}) == 1 for batch in steps)
    seen = Counter(key for batch in steps for key in real(batch))
    assert seen == Counter((task, i) for task, size in enumerate(sizes) for i in range(size))
    assert all(counts for batch in steps for _, _, counts in batch), "one rank needs no fillers"
    assert max(len(batch) for batch in steps) <= 8


@pytest.mark.parametrize("options", EVERY)
@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("sizes", SIZES)
def test_ranks_share_the_very_batches_that_one_process_would_see(sizes, world, options):
    alone = [real(batch) for batch in batches(sizes, **options)]
    shared = all_ranks(sizes, world, **options)
    assert [[key for part in parts for key in real(part)] for parts in shared] == alone
    for parts in shared:
        assert len({len(part) for part in parts}) == 1, "ranks must run batches of the same size"
        assert len({task for part in parts for task, _, _ in part}) == 1
        assert all(part for part in parts)


def test_fillers_are_there_and_never_counted():
    shared = all_ranks((41, 1), 4)
    fillers = [key for parts in shared for part in parts for key in part if not key[2]]
    assert fillers
    model = tiny.adapted()
    task = tiny.task_data(sizes=(5, 2, 2))
    examples = Examples(tiny.encoded(model, task)["train"])
    assert examples[(0, 3, True)]["example_ids"] == 3
    assert examples[(0, 3, False)]["example_ids"] == -1
    assert len(examples) == 5


def test_the_order_depends_on_seed_and_epoch_alone():
    def order(seed=0, epoch=0, **options):
        made = batches((33, 20), seed=seed, **options)
        made.set_epoch(epoch)
        return list(made)

    assert order() == order()
    assert order(epoch=1) == order(epoch=1)
    different = [order(), order(epoch=1), order(seed=1), order(epoch=2)]
    assert all(a != b for n, a in enumerate(different) for b in different[n + 1 :])
    assert order(shuffle=False) == order(shuffle=False, epoch=1, seed=1)


def test_grouping_by_length_leaves_less_padding_and_some_chance():
    lengths = tiny.lengths(600)

    def padding(by_length):
        made = TaskBatches(lengths=lengths, batch_size=16, by_length=by_length)
        return sum(
            max(lengths[0][i] for _, i, _ in batch) * len(batch) - sum(lengths[0][i] for _, i, _ in batch)
            for batch in made
        )

    assert padding(True) < 0.15 * padding(False)
    means = [
        np.mean([lengths[0][i] for _, i, _ in batch]) for batch in TaskBatches(lengths=lengths, batch_size=16)
    ]
    assert means != sorted(means)
    assert means != sorted(means, reverse=True)


def test_long_data_is_grouped_anew_each_epoch():
    def groups(epoch):
        made = TaskBatches(lengths=[np.arange(2000)], batch_size=4, epoch=epoch)
        return {frozenset(i for _, i, _ in batch) for batch in made}

    assert len(groups(0) & groups(1)) < 0.1 * len(groups(0))


def shares(sizes, **mix):
    steps = list(batches(sizes, batch_size=4, mix=MixSpec(**mix)))
    return [task for (task, *_), *_ in steps]


def test_proportional_shares_follow_the_sizes():
    assert Counter(shares((40, 10))) == {0: 10, 1: 3}


@pytest.mark.parametrize(("temperature", "expected"), [(1.0, (100, 1)), (2.0, (91, 10)), (1000.0, (51, 50))])
def test_a_temperature_moves_shares_towards_equal(temperature, expected):
    # n^(1/T): 400 and 4 examples are 100 : 1, then 10 : 1, then 1 : 1; 101 steps in all.
    found = Counter(shares((400, 4), strategy="temperature", temperature=temperature))
    assert sum(found.values()) == 101
    for task, wanted in enumerate(expected):
        assert abs(found[task] - wanted) <= 1


def test_round_robin_takes_turns_and_small_tasks_begin_again():
    found = shares((40, 8, 16), strategy="round_robin")
    assert found[:6] == [0, 1, 2, 0, 1, 2]
    assert len(found) == 16
    assert max(Counter(found).values()) - min(Counter(found).values()) <= 1
    small = Counter(
        i
        for batch in batches((40, 8, 16), batch_size=4, mix=MixSpec(strategy="round_robin"))
        for task, i, _ in batch
        if task == 1
    )
    assert set(small) == set(range(8))
    assert min(small.values()) >= 2


def test_a_task_that_begins_again_is_shuffled_again():
    made = batches((80, 24), batch_size=4, mix=MixSpec(strategy="round_robin"))
    passes = [tuple(i for _, i, _ in batch) for batch in made if batch[0][0] == 1]
    assert len(passes) == 13
    first, second = passes[-6:], passes[-12:-6]  # the plan hands them out from the end
    assert set(sum(first, ())) == set(sum(second, ())) == set(range(24))
    assert first != second


@pytest.mark.parametrize("strategy", ["temperature", "round_robin"])
def test_every_way_of_mixing_is_shared_among_ranks_alike(strategy):
    mix = MixSpec(strategy=strategy)
    alone = [real(batch) for batch in batches((30, 7), mix=mix)]
    shared = [[key for part in parts for key in real(part)] for parts in all_ranks((30, 7), 2, mix=mix)]
    assert shared == alone


def test_a_mix_that_does_not_exist_is_refused():
    with pytest.raises(PipelineError, match="no sampling strategy 'roundrobin'") as caught:
        MixSpec(strategy="roundrobin")
    assert "did you mean 'round_robin'" in caught.value.hint
    with pytest.raises(PipelineError, match="must be above 0"):
        MixSpec(temperature=0)


# --- what a batch holds -------------------------------------------------------------------------------


@pytest.mark.parametrize("multiple", [1, 8])
def test_a_batch_is_padded_to_its_longest_and_keeps_every_token(multiple):
    model = tiny.adapted()
    task = tiny.task_data(sizes=(9, 2, 2))
    examples = Examples(tiny.encoded(model, task)["train"])
    keys = [(0, 4, True), (0, 1, True), (0, 2, False)]
    batch = Collator(pad_id=0, multiple_of=multiple)([examples[key] for key in keys])
    lengths = batch["attention_mask"].sum(1)
    longest = int(lengths.max())
    assert batch["input_ids"].shape[1] == -(-longest // multiple) * multiple
    for row, (_, index, _) in enumerate(keys):
        tokens = batch["input_ids"][row, : lengths[row]]
        text = task.splits["train"][index]["text"]
        assert tokens.tolist() == model.info.tokenizer(text)["input_ids"]
        assert not batch["input_ids"][row, lengths[row] :].any()
    assert batch["task"] == "task"
    assert batch["labels"].tolist() == [task.splits["train"][i]["label"] for _, i, _ in keys]
    assert batch["example_ids"].tolist() == [4, 1, -1]
    assert batch["task_ids"].tolist() == [0, 0, 0]
    assert all(batch[name].dtype == torch.int64 for name in ("input_ids", "attention_mask", "labels"))


def test_the_pad_token_is_the_tokenizers():
    batch = Collator(pad_id=7)(
        [
            {"task": "t", "task_ids": 0, "example_ids": i, "labels": 0, "input_ids": np.arange(n)}
            for i, n in enumerate((2, 4))
        ]
    )
    assert batch["input_ids"].tolist() == [[0, 1, 7, 7], [0, 1, 2, 3]]
    assert "token_type_ids" not in batch


# --- tokens ------------------------------------------------------------------------------------------


def test_tokens_are_kept_on_disk_and_read_back_until_something_changes(tmp_path):
    model, task = tiny.adapted(), tiny.task_data()
    first = encode_task(task, model.info, tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(files) == 3
    again = encode_task(task, model.info, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files
    for split, encoded in first.items():
        np.testing.assert_array_equal(encoded.ids, again[split].ids)
        np.testing.assert_array_equal(encoded.labels, again[split].labels)
    encode_task(tiny.task_data(seed=1), model.info, tmp_path)
    encode_task(task, tiny.adapted(max_length=20).info, tmp_path)
    assert len(list(tmp_path.iterdir())) == 9


def test_a_broken_cache_file_is_made_again(tmp_path):
    model, task = tiny.adapted(), tiny.task_data()
    first = encode_task(task, model.info, tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:40])
    np.testing.assert_array_equal(encode_task(task, model.info, tmp_path)["train"].ids, first["train"].ids)


def test_long_texts_are_cut_to_the_backbones_limit():
    model = tiny.adapted(max_length=12)
    assert max(encode_task(tiny.task_data(), model.info, None)["train"].lengths) == 12


@pytest.mark.parametrize(
    ("family", "segments"), [("bert", True), ("distilbert", False), ("modernbert", False)]
)
def test_segments_are_kept_where_the_backbone_knows_them(family, segments):
    model = tiny.adapted(family)
    model.info.tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    encoded = tiny.encoded(model, tiny.task_data())["train"][0]
    assert ("token_type_ids" in encoded.example(0)) == segments
