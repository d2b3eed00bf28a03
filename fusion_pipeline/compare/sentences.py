"""What the figures allow to say, in plain sentences, and no more than that."""

from __future__ import annotations

from collections.abc import Sequence

from fusion_pipeline.compare.comparing import BETTER, OPEN, Comparison
from fusion_pipeline.compare.intervals import DRAWS
from fusion_pipeline.compare.words import interval, listed, p_value, plural, points


def verdict(one: Comparison, family: int) -> str:
    """Better, worse or cannot be told, with the figures it rests on."""
    size = "" if one.train_size is None else f" with {one.train_size:,} training examples"
    who = f"{one.contender}{size}"
    against = f"{who} is {one.verdict} than {one.reference}"
    if one.verdict == OPEN:
        against = f"whether {who} is better or worse than {one.reference} cannot be told with this test set"
    corrected = f", {p_value(one.corrected)} corrected for {family} comparisons" if family > 1 else ""
    return (
        f"{one.target}: {against}: {points(one.difference.mean)} points of {one.metric} (95 % interval "
        f"{interval(one.difference)}; {p_value(one.p)}{corrected}; {plural(one.seeds, 'seed')}, "
        f"{one.examples:,} test examples)."
    )


def details(one: Comparison) -> list[str]:
    """What bears on a verdict: the counts behind it, what would settle it, what it leaves open."""
    found = [_counts(one)] if one.discordant is not None else []
    if one.verdict == OPEN:
        found.append(_needed(one))
    if one.exact_p is not None:
        found.append(
            f"A small test set ({one.examples:,} examples, {one.differing:,} answered differently well): an exact "
            f"test over examples had to agree ({p_value(one.exact_p)})."
        )
    if one.seeds == 1:
        found.append("One seed: the interval is for these two runs, and says nothing of another training.")
    if one.stage1_seeds == 1 and one.seeds > 1:
        found.append("All its source adapters are of one seed: the interval is for these adapters.")
    if 1 < one.stage1_seeds < one.seeds:
        found.append(
            f"Its {one.seeds} runs stand on source adapters of {one.stage1_seeds} seeds and are not independent; "
            "the interval allows for it."
        )
    return found


def counts_sentence(comparisons: Sequence[Comparison]) -> str:
    """How many are better, worse and open."""
    better = [c for c in comparisons if c.verdict == BETTER]
    open_ = [c for c in comparisons if c.verdict == OPEN]
    worse = len(comparisons) - len(better) - len(open_)
    return (
        f"Of {plural(len(comparisons), 'comparison')} with {comparisons[0].reference}, {len(better)} came out better, "
        f"{worse} worse, and {len(open_)} cannot be told."
    )


def method(comparisons: Sequence[Comparison]) -> list[str]:
    """How the tests were made, and what they do not say."""
    if not comparisons:
        return ["There is one contender a target, or no two with the same seeds: nothing is tested."]
    full = [c for c in comparisons if c.train_size is None]
    few = len(comparisons) - len(full)
    family = f"{plural(len(full), 'comparison')} with all training data"
    family += f" and, by themselves, the {few} with fewer training examples" if few else ""
    return [
        "The best checkpoint of a run is chosen on validation; test is read once, after it, and nothing is selected "
        "on test.",
        f"Intervals and p-values: paired bootstrap over test examples ({DRAWS:,} draws, the same for both contenders "
        "and all seeds) and the spread over seeds, t distribution. Runs are paired by seed.",
        f"Correction: Holm (1979), over the {family}. Intervals are not corrected.",
        "With fewer than 100 test examples, or fewer than 25 that two contenders answer differently well, an exact "
        "test (answers exchanged at random between the two) has to agree, and p is the larger of both.",
        "How many examples would be needed is an estimate: it takes the observed difference for the true one, at "
        "80 % power and 5 % without correction.",
        "The figures are of these data, this backbone and these settings; another seed of the source adapters, "
        "another backbone or other data may turn them round.",
    ]


def _counts(one: Comparison) -> str:
    assert one.discordant is not None
    only_reference, only_this, p = one.discordant
    how = "By majority over seeds it" if one.seeds > 1 else "It"
    ties = " Examples without a majority are left out." if one.seeds % 2 == 0 else ""
    return (
        f"{how} gets {only_this:,} test examples right that {one.reference} gets wrong, and {only_reference:,} the "
        f"other way (McNemar, exact, {p_value(p)}).{ties}"
    )


def _needed(one: Comparison) -> str:
    if one.difference.mean == 0:
        return "The observed difference is 0: no number of examples would show it."
    if one.needed is not None and one.needed > one.examples:
        return f"To show a difference of this size, about {one.needed:,} test examples would be needed (80 % power)."
    if one.needed is not None:
        return "A test set of this size would show such a difference in most cases; correction or chance keeps it open."
    return (
        f"More test examples alone would not show a difference of this size: {one.seeds} seeds differ too much among "
        "themselves. More seeds would be needed."
    )


def few_examples(target: str, contender: str, curve: Sequence[Comparison]) -> str:
    """At which numbers of training examples a contender pays."""
    pays = [_size(c) for c in curve if c.verdict == BETTER]
    harms = [_size(c) for c in curve if c.verdict not in (BETTER, OPEN)]
    told = ", ".join(f"{_size(c)} {points(c.difference.mean)}" for c in curve)
    parts = [f"better with {listed(pays)}" if pays else "", f"worse with {listed(harms)}" if harms else ""]
    said = " and ".join(part for part in parts if part) or "at no size can a difference be told"
    return f"{target}, {contender}: {said} ({told} points)."


def _size(one: Comparison) -> str:
    return "all examples" if one.train_size is None else f"{one.train_size:,} examples"
