"""The statistics of a comparison on known answers: references from scipy, and simulations of what is promised."""

import numpy as np
import pytest
from scipy import stats

from fusion_pipeline.compare.intervals import Pair, combined, difference, drawn_weights, swap_test
from fusion_pipeline.compare.seed_variance import seed_components
from fusion_pipeline.compare.statistics import holm, mcnemar, mean_sd, needed_examples
from fusion_pipeline.tasks.types import task_type
from fusion_pipeline.tasks.weighted import mean


def runs(draw, examples, seeds, *, gain=0.0, seed_sd=0.1, own=0.75, sources=None, source_sd=0.0):
    """Right or wrong of two contenders: some examples are easy for all, some for one of them, some by chance."""
    common = 0.5 + draw.normal(0, 1.5, examples)
    of_a, of_b = draw.normal(0, own, examples), draw.normal(0, own, examples)
    shift = {key: draw.normal(0, source_sd) for key in set(sources or ())}
    pairs = []
    for seed in range(seeds):
        a = common + of_a + draw.normal(0, seed_sd)
        cluster = None if sources is None else sources[seed]
        b = common + of_b + gain + draw.normal(0, seed_sd) + shift.get(cluster, 0.0)
        right = [draw.random(examples) < 1 / (1 + np.exp(-logit)) for logit in (a, b)]
        pairs.append(Pair(a=mean(right[0]), b=mean(right[1]), seed=seed, cluster=cluster))
    return pairs


# --- exact tests and corrections ------------------------------------------------------------------


def test_mcnemar_counts_what_only_one_got_right_and_gives_the_exact_binomial_p():
    a = [True] * 10 + [False] * 8 + [True] * 5
    b = [True] * 10 + [True] * 8 + [False] * 5
    only_a, only_b, p = mcnemar(a, b)
    assert (only_a, only_b) == (5, 8)
    # P(|X - 6.5| >= 1.5) for X ~ B(13, 1/2)
    assert p == pytest.approx(0.5810546875)
    assert mcnemar([True, False], [True, False]) == (0, 0, 1.0)


def test_mcnemar_calls_equal_contenders_different_about_five_times_in_a_hundred():
    rng = np.random.default_rng(0)
    found = [mcnemar(rng.random(400) < 0.7, rng.random(400) < 0.7)[2] < 0.05 for _ in range(600)]
    assert 0.015 < np.mean(found) < 0.065


def test_holm_on_a_worked_example():
    # 4 x 0.005, 3 x 0.01, 2 x 0.03, 0.04 raised to the one before it
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_holm_rarely_calls_any_of_many_equal_contenders_different():
    rng = np.random.default_rng(1)
    wrong = [min(holm(rng.random(12))) < 0.05 for _ in range(2000)]
    assert np.mean(wrong) == pytest.approx(0.05, abs=0.015)


def test_the_swap_test_of_accuracy_is_mcnemar():
    right = np.array([[1] * 3 + [0] * 9 + [1] * 10, [0] * 3 + [1] * 9 + [1] * 10], dtype=float)
    both = mean(np.concatenate(right))
    assert swap_test([(both, both)], 22, draws=20000) == pytest.approx(mcnemar(*right)[2], abs=0.01)
    assert swap_test([(mean(np.tile(right[0], 2)),) * 2], 22) == 1.0


def test_the_swap_test_keeps_its_level_with_a_dozen_examples_where_others_cannot():
    rng, wrong = np.random.default_rng(2), []
    for _ in range(400):
        # Heavy tails and twelve examples: far from normal.
        both = mean(rng.standard_t(1.5, 24))
        wrong.append(swap_test([(both, both)], 12, draws=199) < 0.05)
    assert 0.02 < np.mean(wrong) < 0.08


# --- intervals --------------------------------------------------------------------------------------


def test_one_seed_gives_the_interval_of_a_paired_test_over_examples():
    draw = np.random.default_rng(3)
    a, b = (draw.random((2, 400)) < 0.7).astype(float)
    found = difference([Pair(a=mean(a), b=mean(b), seed=0)], 400, draws=4000)
    wanted = stats.ttest_rel(b, a)
    assert found.mean == pytest.approx((b - a).mean())
    assert found.p == pytest.approx(wanted.pvalue, abs=0.02)
    low, high = wanted.confidence_interval()
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.003)
    assert found.seed_variance == 0


def test_seeds_that_agree_leave_the_doubt_of_the_examples():
    # Each seed is right about other examples, so that the examples' share, less each seed's own, is nothing.
    a, b = np.array([1.0, 0.0] * 30), np.array([0.0, 1.0] * 30)
    pairs = [Pair(a=mean(a), b=mean(b), seed=0), Pair(a=mean(b), b=mean(a), seed=1)]
    found = difference(pairs, 60)
    assert (found.mean, found.p) == (0.0, 1.0)
    constant = [Pair(a=mean(a), b=mean(a), seed=0), Pair(a=mean(a), b=mean(b), seed=1)]
    assert difference(constant, 60).high > 0.05


def test_with_endless_examples_it_is_the_paired_test_over_seeds():
    gains = [0.02, 0.05, -0.01, 0.03, 0.04]
    pairs = [
        Pair(a=lambda w: np.full(len(w), 0.5), b=lambda w, g=g: np.full(len(w), 0.5 + g), seed=s)
        for s, g in enumerate(gains)
    ]
    found, wanted = difference(pairs, 10**4, draws=50), stats.ttest_1samp(gains, 0)
    assert found.p == pytest.approx(wanted.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(wanted.confidence_interval()))


def test_equal_runs_have_no_difference_and_no_doubt():
    right = mean([1.0, 0.0, 1.0])
    found = difference([Pair(a=right, b=right, seed=0)], 3)
    assert (found.mean, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("examples", "seeds", "seed_sd"),
    [(277, 5, 0.2), (277, 3, 0.2), (120, 5, 0.0), (277, 1, 0.0), (277, 2, 0.3)],
)
def test_equal_contenders_are_called_different_about_five_times_in_a_hundred(examples, seeds, seed_sd):
    draw = np.random.default_rng(4)
    found = [
        difference(runs(draw, examples, seeds, seed_sd=seed_sd), examples, draws=120, seed=i).p < 0.05
        for i in range(300)
    ]
    assert np.mean(found) <= 0.085
    if seed_sd == 0.2 or seeds == 1:
        assert np.mean(found) >= 0.015


def test_intervals_hold_the_true_difference_about_ninety_five_times_in_a_hundred():
    draw, truth, held = np.random.default_rng(5), [], []
    for i in range(300):
        found = difference(runs(draw, 250, 4, gain=0.6, seed_sd=0.2), 250, draws=120, seed=i)
        truth.append(found.mean)
        held.append(found)
    true = np.mean(truth)
    assert true > 0.05
    assert 0.91 <= np.mean([d.low <= true <= d.high for d in held]) <= 0.995


def test_seeds_over_shared_source_adapters_are_not_taken_for_independent_ones():
    draw = np.random.default_rng(6)
    told = {"shared": 0, "ignored": 0}
    for i in range(250):
        pairs = runs(draw, 300, 6, sources=[0, 0, 1, 1, 2, 2], source_sd=0.5, seed_sd=0.1)
        ignored = [Pair(a=p.a, b=p.b, seed=p.seed) for p in pairs]
        told["shared"] += difference(pairs, 300, draws=100, seed=i).p < 0.05
        told["ignored"] += difference(ignored, 300, draws=100, seed=i).p < 0.05
    assert told["shared"] / 250 < 0.1
    assert told["ignored"] / 250 > told["shared"] / 250 + 0.05


def test_variance_components_on_a_worked_example():
    # Two clusters of two: within 2·0.5 / 2 = 0.5 each, means 1.5 and 5.5.
    parts = seed_components([1.0, 2.0, 5.0, 6.0], range(4), [0, 0, 1, 1])
    between = (16.0 - 0.5) / 2  # MS between 16, within 0.5, two a cluster
    assert [(p.variance, p.df) for p in parts] == [
        (pytest.approx(between * 8 / 16), 1),
        (pytest.approx(0.5 / 4), 2),
    ]
    assert [p.df for p in seed_components([1.0, 2.0, 3.0], range(3), [None] * 3)] == [2]
    # Every seed over both: seeds and clusters crossed.
    assert [
        p.df for p in seed_components([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0, 0, 1, 1, 2, 2], [7, 8] * 3)
    ] == [2, 1]
    assert seed_components([1.0], [0], [None]) == []


def test_it_works_for_metrics_that_are_no_means():
    draw = np.random.default_rng(7)
    right = draw.normal(size=200)
    close, far = right + draw.normal(0, 0.3, 200), right + draw.normal(0, 3, 200)
    of = task_type("regression").weighted
    pair = Pair(a=of("spearman", far, right, None), b=of("spearman", close, right, None), seed=0)
    found = difference([pair], 200, draws=500)
    assert found.mean == pytest.approx(stats.spearmanr(close, right)[0] - stats.spearmanr(far, right)[0])
    assert 0 < found.low < found.mean < found.high
    # The same as drawing rows and computing anew.
    weights = drawn_weights(200, 300, np.random.default_rng(8))
    again = []
    for row in weights:
        rows = np.repeat(np.arange(200), row.astype(int))
        again.append(
            stats.spearmanr(close[rows], right[rows])[0] - stats.spearmanr(far[rows], right[rows])[0]
        )
    assert found.example_variance == pytest.approx(np.var(again, ddof=1), rel=0.3)


def test_a_mean_over_targets_is_surer_than_each_of_them():
    draw = np.random.default_rng(9)
    each = [difference(runs(draw, 300, 5, gain=0.3), 300, draws=200, seed=i) for i in range(6)]
    whole = combined(each)
    assert whole.mean == pytest.approx(np.mean([d.mean for d in each]))
    assert whole.high - whole.low < 0.6 * np.mean([d.high - d.low for d in each])


# --- power ------------------------------------------------------------------------------------------


def test_the_needed_number_of_examples_has_the_power_that_is_said():
    # Discordant rates 0.16 and 0.08 in a pilot of 200: exactly what a test of the needed size is made of.
    pilot = np.array([1.0] * 32 + [-1.0] * 16 + [0.0] * 152)
    found = difference([Pair(a=mean(np.zeros(200)), b=mean(pilot), seed=0)], 200, draws=4000)
    needed = needed_examples(found, 200)
    # (z + z)² · (0.24 − 0.08²) / 0.08² = 286.5
    assert needed == pytest.approx(287, rel=0.08)
    rng, told = np.random.default_rng(10), []
    for _ in range(1500):
        counts = rng.multinomial(needed, [0.16, 0.08, 0.76])
        told.append(stats.binomtest(int(counts[0]), int(counts[:2].sum())).pvalue < 0.05)
    assert np.mean(told) == pytest.approx(0.8, abs=0.07)


def test_more_examples_do_not_help_where_seeds_disagree():
    gains = [0.2, -0.15, 0.1, -0.1]
    pairs = [
        Pair(a=lambda w: np.full(len(w), 0.5), b=lambda w, g=g: np.full(len(w), 0.5 + g), seed=s)
        for s, g in enumerate(gains)
    ]
    assert needed_examples(difference(pairs, 100, draws=50), 100) is None


def test_mean_and_deviation():
    assert mean_sd([0.5]) == (0.5, 0.0)
    assert mean_sd([0.4, 0.6]) == (pytest.approx(0.5), pytest.approx(np.std([0.4, 0.6], ddof=1)))
