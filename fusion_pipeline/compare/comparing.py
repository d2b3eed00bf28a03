"""Each contender against the reference on the same test examples: paired tests, intervals, verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fusion_pipeline.compare.intervals import Difference, Pair, difference, swap_test
from fusion_pipeline.compare.results import Outcome, groups_of
from fusion_pipeline.compare.statistics import holm, mcnemar, needed_examples
from fusion_pipeline.tasks.types import task_type

if TYPE_CHECKING:
    from fusion_pipeline.tasks.weighted import Weighted

REFERENCE = "single"
LEVEL = 0.05
# Below either of these, an exact test has to agree before anything is called better or worse.
FEW_EXAMPLES, FEW_DIFFERING = 100, 25
BETTER, WORSE, OPEN = "better", "worse", "cannot be told"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One contender against the reference on one target.

    seeds: pairs of runs. stage1_seeds: different seeds of source adapters among them, 0 without any. examples: of the
    test set. differing: those that the two answer differently well. exact_p: of the swap test where the test set is
    small, else None. discordant: McNemar by majority over seeds, (only the reference right, only the contender right,
    p), for types whose answers are right or wrong. p: what the verdict rests on, before correction; corrected: after
    Holm over the comparisons of the report. needed: test examples for 80 % power at the observed difference.
    """

    target: str
    contender: str
    reference: str
    metric: str
    train_size: int | None
    seeds: int
    stage1_seeds: int
    examples: int
    differing: int
    difference: Difference
    exact_p: float | None
    discordant: tuple[int, int, float] | None
    needed: int | None
    corrected: float = 1.0

    @property
    def p(self) -> float:
        """The larger of both, where an exact test has to agree."""
        return max(self.difference.p, self.exact_p or 0.0)

    @property
    def verdict(self) -> str:
        """better, worse, or cannot be told, at 5 % after correction."""
        if self.corrected >= LEVEL:
            return OPEN
        return BETTER if self.difference.mean > 0 else WORSE


def reference_of(outcomes: Sequence[Outcome]) -> str:
    """`single` where it is among the contenders, else the first of them."""
    names = dict.fromkeys(outcome.contender for outcome in outcomes)
    return REFERENCE if REFERENCE in names else next(iter(names))


def compare_all(outcomes: Sequence[Outcome]) -> list[Comparison]:
    """Every contender against the reference, by target; p-values corrected over those with all training data, and
    over those with fewer training examples by themselves.
    """
    reference = reference_of(outcomes)
    groups = groups_of(outcomes)
    found = []
    for (target, contender, size), group in groups.items():
        base = groups.get((target, reference, size))
        pairs = [] if base is None or contender == reference else paired_runs(base, group)
        if pairs:
            found.append(compare_runs(pairs))
    return [
        *_corrected([c for c in found if c.train_size is None]),
        *_corrected([c for c in found if c.train_size]),
    ]


def paired_runs(base: Sequence[Outcome], group: Sequence[Outcome]) -> list[tuple[Outcome, Outcome]]:
    """(reference, contender) of the same seed on the same test examples, and where both have source adapters, over
    adapters of the same seed."""
    found = []
    for outcome in group:
        same = [o for o in base if _fits(o, outcome)]
        found += [(same[0], outcome)] if same else []
    first = found[0][1].examples if found else []
    return [pair for pair in found if pair[1].examples == first]


def _fits(reference: Outcome, other: Outcome) -> bool:
    seeds = {reference.stage1_seed, other.stage1_seed} - {None}
    return reference.seed == other.seed and len(seeds) < 2 and reference.examples == other.examples


def compare_runs(pairs: Sequence[tuple[Outcome, Outcome]]) -> Comparison:
    """The tests of one contender; `corrected` is left at 1."""
    first, second = pairs[0]
    examples = len(first.examples)
    found = difference([_pair(a, b) for a, b in pairs], examples)
    differing = _differing(pairs)
    small = examples < FEW_EXAMPLES or differing < FEW_DIFFERING
    clusters = {b.stage1_seed for _, b in pairs} - {None}
    return Comparison(
        target=second.task.name,
        contender=second.contender,
        reference=first.contender,
        metric=second.task.metric,
        train_size=second.train_size,
        seeds=len(pairs),
        stage1_seeds=len(clusters),
        examples=examples,
        differing=differing,
        difference=found,
        exact_p=swap_test([_both(a, b) for a, b in pairs], examples) if small else None,
        discordant=_discordant(pairs) if task_type(second.task.type).exact else None,
        needed=needed_examples(found, examples),
    )


def _corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    corrected = holm([one.p for one in comparisons])
    return [replace(one, corrected=p) for one, p in zip(comparisons, corrected, strict=True)]


def _pair(a: Outcome, b: Outcome) -> Pair:
    return Pair(a=_weighted([a]), b=_weighted([b]), seed=b.seed, cluster=b.stage1_seed)


def _both(a: Outcome, b: Outcome) -> tuple[Weighted, Weighted]:
    return _weighted([a, b]), _weighted([a, b])


def _weighted(outcomes: Sequence[Outcome]) -> Weighted:
    """The metric of these runs' answers one after the other, as a function of how often each is drawn."""
    task = outcomes[0].task
    rows = [row for outcome in outcomes for row in outcome.predictions]
    said, right = [row["prediction"] for row in rows], [row["label"] for row in rows]
    return task_type(task.type).weighted(task.metric, said, right, task.labels)


def _points(outcome: Outcome) -> np.ndarray:
    kind = task_type(outcome.task.type)
    return np.array([kind.points(row["prediction"], row["label"]) for row in outcome.predictions])


def _differing(pairs: Sequence[tuple[Outcome, Outcome]]) -> int:
    means = np.mean([_points(b) - _points(a) for a, b in pairs], axis=0)
    return int((np.abs(means) > 1e-12).sum())


def _discordant(pairs: Sequence[tuple[Outcome, Outcome]]) -> tuple[int, int, float]:
    """McNemar on each example's majority over seeds: one verdict an example, so that none counts twice.

    An example on which the seeds of either are evenly divided has no majority, and is left out.
    """
    a, b = (np.mean([_points(pair[side]) for pair in pairs], axis=0) for side in (0, 1))
    decided = (a != 0.5) & (b != 0.5)
    return mcnemar((a > 0.5)[decided].tolist(), (b > 0.5)[decided].tolist())
