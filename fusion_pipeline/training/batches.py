"""Batches: each of one task, by length where wanted, the same task on every rank in a step.

A plan is made for *global* batches from the seed and the epoch alone and then cut among the ranks, so
one process with batch size 32 and two with 16 see the same examples in the same steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.tasks.types.token_classification import IGNORED
from fusion_pipeline.training.encoding import Encoded

Key = tuple[int, int, bool]
"""(task, example, counts): a row that does not count only fills a rank's share of the last batch."""

MIXES = ("proportional", "temperature", "round_robin")
# Batches are sorted by length inside pools of at most this many, and of a quarter of an epoch, so that
# batches mix anew every epoch.
_POOL = 50


@dataclass(frozen=True, kw_only=True)
class MixSpec:
    """How training steps are shared among tasks.

    `proportional`: every example once an epoch. `temperature`: task t gets a share ∝ n_t^(1/T).
    `round_robin`: equal shares, in turn. All take as many steps an epoch as `proportional`.
    """

    strategy: str = "proportional"
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if self.strategy not in MIXES:
            raise PipelineError(
                f"there is no sampling strategy '{self.strategy}'",
                where="sampling.strategy",
                hint=did_you_mean(self.strategy, MIXES),
            )
        if self.temperature <= 0:
            raise PipelineError(
                f"sampling.temperature={self.temperature} must be above 0", where="sampling.temperature"
            )


class Examples(Dataset[dict[str, Any]]):
    """The examples of several tasks, addressed by `Key`."""

    def __init__(self, tasks: Sequence[Encoded]) -> None:
        self.tasks = list(tasks)

    def __len__(self) -> int:
        return sum(len(task) for task in self.tasks)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        task, index, counts = key
        encoded = self.tasks[task]
        return encoded.example(index) | {
            "task": encoded.task,
            "task_ids": task,
            "example_ids": index if counts else -1,
        }


@dataclass(kw_only=True)
class TaskBatches(Sampler[list[Key]]):
    """One rank's batches of an epoch.

    `batch_size` is per rank. Training shuffles anew each epoch; otherwise the order is by task and
    length. The last batch of a task may be short; where it cannot be shared evenly, fillers complete it.
    """

    lengths: Sequence[np.ndarray]
    batch_size: int
    world: int = 1
    rank: int = 0
    seed: int = 0
    shuffle: bool = True
    by_length: bool = True
    mix: MixSpec = MixSpec()
    epoch: int = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return sum(self._natural())

    def __iter__(self) -> Iterator[list[Key]]:
        for task, batch in self.plan():
            yield self._share(task, batch)

    def plan(self) -> list[tuple[int, np.ndarray]]:
        """(task, examples) of every global batch of this epoch, in order."""
        rng = np.random.default_rng([self.seed, self.epoch])
        natural = self._natural()
        if not self.shuffle:
            batches = [self._ordered(task) for task in range(len(natural))]
            return [(task, batch) for task, several in enumerate(batches) for batch in several]
        wanted = self._wanted(natural)
        pools = [self._several(task, count, rng) for task, count in enumerate(wanted)]
        return [(task, pools[task].pop()) for task in self._order(wanted, rng)]

    @property
    def _global(self) -> int:
        return self.batch_size * self.world

    def _natural(self) -> list[int]:
        return [-(-len(lengths) // self._global) for lengths in self.lengths]

    def _wanted(self, natural: Sequence[int]) -> list[int]:
        if self.mix.strategy == "proportional" or len(natural) == 1:
            return list(natural)
        power = 0.0 if self.mix.strategy == "round_robin" else 1.0 / self.mix.temperature
        share = np.array([len(lengths) for lengths in self.lengths], dtype=float) ** power
        exact = share / share.sum() * sum(natural)
        counts = np.floor(exact).astype(int)
        # Largest remainders get the steps that rounding left over.
        for task in np.argsort(counts - exact, kind="stable")[: sum(natural) - counts.sum()]:
            counts[task] += 1
        return [int(count) for count in counts]

    def _order(self, wanted: Sequence[int], rng: np.random.Generator) -> list[int]:
        if self.mix.strategy != "round_robin":
            return [int(task) for task in rng.permutation(np.repeat(np.arange(len(wanted)), wanted))]
        turns = [(turn, task) for task, count in enumerate(wanted) for turn in range(count)]
        return [task for _, task in sorted(turns)]

    def _several(self, task: int, count: int, rng: np.random.Generator) -> list[np.ndarray]:
        """`count` batches of a task, passing over its examples as often as that takes."""
        batches: list[np.ndarray] = []
        while len(batches) < count:
            batches += self._shuffled(task, rng)
        return batches[:count]

    def _shuffled(self, task: int, rng: np.random.Generator) -> list[np.ndarray]:
        order = rng.permutation(len(self.lengths[task]))
        if self.by_length:
            quarter = -(-len(order) // (4 * self._global))
            pools = _chunks(order, self._global * min(_POOL, quarter))
            order = np.concatenate(
                [pool[np.argsort(self.lengths[task][pool], kind="stable")] for pool in pools]
            )
        batches = _chunks(order, self._global)
        return [batches[i] for i in rng.permutation(len(batches))]

    def _ordered(self, task: int) -> list[np.ndarray]:
        order = (
            np.argsort(-self.lengths[task], kind="stable")
            if self.by_length
            else np.arange(len(self.lengths[task]))
        )
        return _chunks(order, self._global)

    def _share(self, task: int, batch: np.ndarray) -> list[Key]:
        each = -(-len(batch) // self.world)
        mine = batch[self.rank * each : (self.rank + 1) * each]
        filler = [(task, int(batch[0]), False)] * (each - len(mine))
        return [(task, int(index), True) for index in mine] + filler


class BatchLoader(DataLoader[Any]):
    """A DataLoader that tells its batches which epoch it is."""

    def set_epoch(self, epoch: int) -> None:
        """Passes the epoch on."""
        self.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]


@dataclass(frozen=True, kw_only=True)
class Collator:
    """Pads to the longest of the batch; everything numeric becomes a tensor, `task` stays a name."""

    pad_id: int
    multiple_of: int = 1

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Rows of one task → a batch: (B, T) ids, mask and segments, (B,) labels, task and example ids.

        Where an example is several sequences, ids, mask and segments are (S, T), and `choices` (B, C) says whose.
        """
        sequences = [one for row in rows for one in row.get("sequences", (row,))]
        longest = max(len(one["input_ids"]) for one in sequences)
        width = -(-longest // self.multiple_of) * self.multiple_of
        batch: dict[str, Any] = {"task": rows[0]["task"]}
        batch["input_ids"] = _padded([one["input_ids"] for one in sequences], width, self.pad_id)
        batch["attention_mask"] = _padded([np.ones(len(one["input_ids"])) for one in sequences], width, 0)
        if "token_type_ids" in sequences[0]:
            batch["token_type_ids"] = _padded([one["token_type_ids"] for one in sequences], width, 0)
        if "sequences" in rows[0]:
            batch["choices"] = _choices([len(row["sequences"]) for row in rows])
        batch["labels"] = _labels([row["labels"] for row in rows])
        for name in ("task_ids", "example_ids"):
            batch[name] = torch.from_numpy(np.array([row[name] for row in rows]))
        return batch


def _choices(counts: Sequence[int]) -> torch.Tensor:
    """(B, C): which of the batch's sequences is whose choice, -1 where a row has fewer."""
    ends = np.cumsum(counts)
    rows = [np.arange(end - count, end) for end, count in zip(ends, counts, strict=True)]
    return _padded(rows, max(counts), -1)


def _labels(labels: Sequence[Any]) -> torch.Tensor:
    if np.ndim(labels[0]) == 0:
        return torch.from_numpy(np.array(labels))
    if labels[0].dtype.kind == "f":
        return torch.from_numpy(np.stack(labels))
    return _padded(labels, max(len(label) for label in labels), IGNORED)


def _padded(rows: Sequence[np.ndarray], width: int, value: int) -> torch.Tensor:
    table = np.full((len(rows), width), value, dtype=np.int64)
    for index, row in enumerate(rows):
        table[index, : len(row)] = row
    return torch.from_numpy(table)


def _chunks(order: np.ndarray, size: int) -> list[np.ndarray]:
    return [order[start : start + size] for start in range(0, len(order), size)]
