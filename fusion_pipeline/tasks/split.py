"""Cuts missing splits off train and takes subsamples: seeded, stratified, and always said."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.draw import draw_stratified, in_order
from fusion_pipeline.tasks.rows import CheckedTask, Row, Rows
from fusion_pipeline.tasks.spec import SPLITS
from fusion_pipeline.tasks.task_types import CLASSIFICATION

# Of train as it came: with both missing, 70 % stay.
SHARES = {"test": 0.2, "validation": 0.1}
_FEWEST = 10


def cut_missing(task: CheckedTask, *, seed: int, where: str) -> CheckedTask:
    """The task with validation and test; those missing are cut off train."""
    splits, notes = dict(task.splits), list(task.notes)
    whole = len(splits["train"])
    for split, share in SHARES.items():
        if split in splits:
            continue
        if whole < _FEWEST:
            raise PipelineError(
                f"{whole} rows are too few to cut {split} off",
                where=where,
                hint=f"give a {split} split of its own (columns.{split}=FILE), or {_FEWEST} rows or more",
            )
        cut, splits["train"] = _cut(
            splits["train"], round(share * whole), _stratified(task), f"{seed}/{split}"
        )
        splits[split] = cut
        way = "stratified" if _stratified(task) else "at random"
        notes.append(f"{split}: {share:.0%} of train cut off ({way}, seed {seed}): {len(cut):,} rows")
    ordered = {split: splits[split] for split in SPLITS}
    return CheckedTask(spec=task.spec, splits=ordered, notes=tuple(notes))


def cap(task: CheckedTask, caps: Mapping[str, int | None], *, seed: int, where: str) -> CheckedTask:
    """The task with at most so many rows per split."""
    splits, notes = dict(task.splits), list(task.notes)
    for split, most in caps.items():
        rows = splits[split]
        if most is None or most >= len(rows):
            continue
        classes = len({_stratum(row, stratify=_stratified(task)) for row in rows})
        if most < classes:
            raise PipelineError(
                f"data.max_{split}={most} is less than one row per class ({classes})", where=where
            )
        strata = [_stratum(row, stratify=_stratified(task)) for row in rows]
        splits[split] = [rows[i] for i in draw_stratified(strata, most, leave=0, seed=f"{seed}/max/{split}")]
        notes.append(f"{split}: {len(splits[split]):,} of {len(rows):,} rows drawn (seed {seed})")
    return CheckedTask(spec=task.spec, splits=splits, notes=tuple(notes))


def few(task: CheckedTask, size: int | None, *, draw: int, where: str) -> CheckedTask:
    """The task with so many rows of train, every class among them; for one `draw`, fewer are among more."""
    rows = task.splits["train"]
    if size is None or size == len(rows):
        return task
    name = f"data.train_sizes.{task.spec.name}"
    if size > len(rows):
        raise PipelineError(f"{name}={size}, and train has {len(rows):,} rows", where=where)
    strata = [_stratum(row, stratify=_stratified(task)) for row in rows]
    if size < len(set(strata)):
        raise PipelineError(f"{name}={size} is less than one row per class ({len(set(strata))})", where=where)
    kept = [rows[i] for i in sorted(in_order(strata, seed=f"{draw}/few")[:size])]
    note = f"train: {size:,} of {len(rows):,} rows drawn (draw {draw})"
    return CheckedTask(spec=task.spec, splits={**task.splits, "train": kept}, notes=(*task.notes, note))


def text_key(row: Row) -> tuple[Hashable, ...]:
    """What makes two rows the same example: all but the label."""
    return tuple(
        tuple(value) if isinstance(value, list) else value for key, value in row.items() if key != "label"
    )


def _stratified(task: CheckedTask) -> bool:
    return task.spec.type == CLASSIFICATION


def _stratum(row: Row, *, stratify: bool) -> Hashable:
    return row["label"] if stratify else None


def _cut(rows: Rows, count: int, stratify: bool, seed: str) -> tuple[Rows, Rows]:
    """Draws distinct texts, so that two rows with the same text never end up on two sides."""
    first: dict[tuple[Hashable, ...], Hashable] = {}
    for row in rows:
        first.setdefault(text_key(row), _stratum(row, stratify=stratify))
    keys = list(first)
    share = max(round(count * len(keys) / len(rows)), 1)
    drawn = {keys[i] for i in draw_stratified(list(first.values()), share, leave=1, seed=seed)}
    cut = [row for row in rows if text_key(row) in drawn]
    return cut, [row for row in rows if text_key(row) not in drawn]
