"""What each merge method promises, on true updates: against dense references written here from the definitions."""

import itertools
import math

import adapter_files as files
import pytest
import torch

from fusion_pipeline import registry
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.merging.draws import Draws
from fusion_pipeline.merging.update import Dense, Update, combined

METHODS = registry.options("merge")
# With these, merging equal adapters must give them back.
WHOLE = {"ties": {"density": 1.0}, "dare": {"density": 1.0}, "magnitude_prune": {"density": 1.0}}
AVERAGING = [m for m in METHODS if m not in ("task_arithmetic", "cat", "factorwise")]


@pytest.fixture
def pair(tmp_path):
    made = [files.factors(1), files.factors(2)]
    return made, [files.write_peft(tmp_path / f"in{i}", one) for i, one in enumerate(made)]


@pytest.fixture
def three(tmp_path):
    made = [files.factors(i, rank=2 + i, scale=0.5 + i) for i in range(3)]
    return made, [files.write_peft(tmp_path / f"in{i}", one) for i, one in enumerate(made)]


def weighted(made, weights):
    return {p: sum(w * one.deltas()[p] for w, one in zip(weights, made, strict=True)) for p in files.PATHS}


@pytest.mark.parametrize("method", METHODS)
def test_one_adapter_alone_is_unchanged(tmp_path, method):
    made = files.factors(3)
    folder = files.write_peft(tmp_path / "in", made)
    assert files.gap(files.merged([folder], method, WHOLE.get(method)), made.deltas()) < 1e-6


@pytest.mark.parametrize("method", AVERAGING)
def test_equal_adapters_merge_into_themselves(tmp_path, method):
    made = files.factors(3)
    folders = [files.write_peft(tmp_path / name, made) for name in "abc"]
    found = files.merged(folders, method, WHOLE.get(method), weights=[0.2, 0.5, 0.3])
    assert files.gap(found, made.deltas()) < 1e-6


@pytest.mark.parametrize("method", [m for m in METHODS if m != "factorwise"])
def test_order_does_not_matter(three, method):
    _, folders = three
    weights = (0.5, 0.3, 0.2)
    wanted = files.merged(folders, method, weights=weights, seed=5)
    for order in itertools.permutations(range(3)):
        found = files.merged([folders[i] for i in order], method, weights=[weights[i] for i in order], seed=5)
        assert files.gap(found, wanted) < 1e-5


@pytest.mark.parametrize(
    ("method", "weights", "factors"),
    [
        ("linear", [0.7, 0.3], [0.7, 0.3]),
        ("linear", [3, 1], [0.75, 0.25]),
        ("linear", None, [0.5, 0.5]),
        ("linear", [2, -1], [2, -1]),
        ("task_arithmetic", [1, -0.4], [1, -0.4]),
        ("task_arithmetic", None, [1, 1]),
        ("cat", [0.7, 0.6], [0.7, 0.6]),
    ],
)
def test_sums_equal_the_dense_weighted_sum(pair, method, weights, factors):
    made, folders = pair
    assert files.gap(files.merged(folders, method, weights=weights), weighted(made, factors)) < 1e-6


def test_ranks_and_scales_may_differ(three):
    made, folders = three
    found = files.merged(folders, weights=[1, 2, 3])
    assert files.gap(found, weighted(made, [1 / 6, 2 / 6, 3 / 6])) < 1e-6


def test_without_normalising_weights_are_taken_as_they_are(pair):
    made, folders = pair
    found = files.merged(folders, "linear", {"normalize": False}, weights=[2, 2])
    assert files.gap(found, weighted(made, [2, 2])) < 1e-6


def test_a_smaller_rank_is_the_best_one_and_says_what_it_lost(pair):
    made, folders = pair
    plan = files.plan(folders, rank=3)
    for one in plan.merged():
        dense = weighted(made, [0.5, 0.5])[one.path]
        u, s, v = torch.linalg.svd(dense)
        torch.testing.assert_close(one.update.delta().double(), (u[:, :3] * s[:3]) @ v[:3], atol=1e-5, rtol=0)
        assert one.update.rank == 3
        assert one.discarded == pytest.approx(float((s[3:] ** 2).sum()), rel=1e-5)
        assert one.energy == pytest.approx(float((s**2).sum()), rel=1e-5)


def test_svd_keeps_the_largest_rank_of_the_inputs(three):
    _, folders = three
    assert set(files.plan(folders, "svd").ranks.values()) == {4}
    assert set(files.plan(folders, "linear").ranks.values()) == {9}
    assert set(files.plan(folders, "ties").ranks.values()) == {9}


# --- slerp ------------------------------------------------------------------------------------------


def test_slerp_ends_at_its_inputs(pair):
    made, folders = pair
    for t in (0, 1):
        assert files.gap(files.merged(folders, "slerp", {"t": t}), made[t].deltas()) < 1e-6


@pytest.mark.parametrize("t", [0.1, 0.5, 0.8])
def test_slerp_is_the_formula_and_keeps_equal_norms(tmp_path, t):
    made = [files.factors(1), files.factors(2)]
    for one in made:
        for p, delta in one.deltas().items():
            one.up[p] /= float(delta.norm())
    folders = [files.write_peft(tmp_path / f"in{i}", one) for i, one in enumerate(made)]
    found = files.merged(folders, "slerp", {"t": t})
    for p, delta in found.items():
        a, b = (one.deltas()[p] for one in made)
        angle = math.acos(float((a * b).sum() / a.norm() / b.norm()))
        wanted = (math.sin((1 - t) * angle) * a + math.sin(t * angle) * b) / math.sin(angle)
        torch.testing.assert_close(delta, wanted, atol=1e-6, rtol=0)
        assert float(delta.norm()) == pytest.approx(1, abs=1e-5)


def test_weights_of_slerp_are_its_t(pair):
    _, folders = pair
    found = files.merged(folders, "slerp", weights=[3, 1])
    assert files.gap(found, files.merged(folders, "slerp", {"t": 0.25})) < 1e-6


def test_the_spherical_mean_is_where_the_logarithms_cancel(three):
    made, folders = three
    weights = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
    for p, delta in files.merged(folders, "slerp", weights=weights.tolist()).items():
        norms = torch.stack([one.deltas()[p].norm() for one in made])
        units = torch.stack([one.deltas()[p].flatten() for one in made]) / norms[:, None]
        mean = delta.flatten() / delta.norm()
        angles = (units @ mean).clamp(-1, 1).arccos()
        logs = (angles / angles.sin())[:, None] * (units - (units @ mean)[:, None] * mean)
        assert float((weights @ logs).norm()) < 1e-5
        assert float(delta.norm()) == pytest.approx(float(weights @ norms), rel=1e-5)


def test_opposite_updates_have_no_mean(tmp_path):
    one = files.factors(1)
    other = files.Factors(one.down, {p: -t for p, t in one.up.items()}, one.scale)
    folders = [files.write_peft(tmp_path / "a", one), files.write_peft(tmp_path / "b", other)]
    with pytest.raises(PipelineError, match="opposite"):
        files.merged(folders, "slerp", {"t": 0.5})


# --- elementwise ------------------------------------------------------------------------------------


def reference_ties(deltas, weights, density, scaling):
    """Yadav et al. 2023, algorithm 1, element by element."""
    size = deltas[0].numel()
    trimmed = []
    for delta in deltas:
        flat = delta.flatten().clone()
        flat[flat.abs().argsort(descending=True)[round(density * size) :]] = 0
        trimmed.append(flat)
    out = torch.zeros(size, dtype=torch.float64)
    for i in range(size):
        elected = math.copysign(1, sum(w * t[i] for w, t in zip(weights, trimmed, strict=True)))
        agreeing = [(w, float(t[i])) for w, t in zip(weights, trimmed, strict=True) if t[i] * elected > 0]
        if agreeing:
            out[i] = sum(w * value for w, value in agreeing) / sum(w for w, _ in agreeing)
    return scaling * out.reshape(deltas[0].shape)


@pytest.mark.parametrize("density", [0.2, 0.7, 1.0])
@pytest.mark.parametrize("weights", [[1, 1, 1], [0.5, 2, 1]])
def test_ties_is_the_papers_algorithm(three, density, weights):
    made, folders = three
    found = files.merged(
        folders, "ties", {"density": density, "scaling": 0.8}, weights=weights, rank=files.D_OUT
    )
    for p, delta in found.items():
        wanted = reference_ties([one.deltas()[p] for one in made], weights, density, 0.8)
        torch.testing.assert_close(delta, wanted, atol=2e-5, rtol=0)


@pytest.mark.parametrize("density", [0.3, 0.9])
def test_dare_keeps_and_rescales_elements(density):
    """One input: every element is dropped or divided by p, at the rate p; so its expectation is the input."""
    method = registry.build("merge", "dare", density=density)
    draw = torch.Generator().manual_seed(0)
    tensor = torch.randn(200, 300, generator=draw, dtype=torch.float64)
    found = method.combine([tensor], [1.0], Draws(seed=1, inputs=("x",)))
    kept = found != 0
    torch.testing.assert_close(found[kept], tensor[kept] / density)
    assert float(kept.double().mean()) == pytest.approx(density, abs=0.01)


def test_the_expectation_of_dare_is_the_weighted_average():
    method = registry.build("merge", "dare", density=0.4)
    draw = torch.Generator().manual_seed(0)
    tensors = [torch.randn(6, 5, generator=draw) for _ in range(2)]
    runs = [method.combine(tensors, [0.7, 0.3], Draws(seed=s, inputs=("x", "y"))) for s in range(4000)]
    mean, wanted = torch.stack(runs).mean(0), 0.7 * tensors[0] + 0.3 * tensors[1]
    error = torch.stack(runs).std(0) / math.sqrt(len(runs))
    assert bool(((mean - wanted).abs() < 5 * error + 1e-6).all())


def test_dare_draws_other_masks_for_other_seeds_inputs_and_modules():
    masks = {
        tuple(torch.rand(8, generator=Draws(seed=s, inputs=("x", "y", "x")).of(part).generator(i)).tolist())
        for s in (0, 1)
        for part in ("a", "b")
        for i in range(3)
    }
    assert len(masks) == 12


def test_dare_with_election_is_dare_then_ties(pair):
    made, folders = pair
    options = {"density": 0.6, "combining": "ties"}
    plan = files.plan(folders, "dare", options, rank=files.D_OUT, seed=4)
    for one in plan.merged():
        dropped = []
        for i, adapter in enumerate(made):
            chance = torch.rand(files.D_OUT, files.D_IN, generator=plan.draws(one.path).generator(i))
            dropped.append(adapter.deltas()[one.path] * (chance < 0.6) / 0.6)
        wanted = reference_ties(dropped, [1, 1], 1.0, 1.0)
        torch.testing.assert_close(one.update.delta().double(), wanted, atol=5e-5, rtol=0)


def test_magnitude_prune_sums_the_largest_elements(pair):
    made, folders = pair
    found = files.merged(folders, "magnitude_prune", {"density": 0.25}, weights=[3, 1], rank=files.D_OUT)
    for p, delta in found.items():
        wanted = torch.zeros_like(delta)
        for weight, one in zip((0.75, 0.25), made, strict=True):
            dense = one.deltas()[p]
            least = dense.abs().flatten().sort(descending=True).values[30 - 1]
            wanted += weight * torch.where(dense.abs() >= least, dense, 0.0)
        torch.testing.assert_close(delta, wanted, atol=2e-5, rtol=0)


def test_sparse_methods_say_what_the_rank_took_away(pair):
    _, folders = pair
    whole = {one.path: one.update.delta() for one in files.plan(folders, "ties", rank=files.D_OUT).merged()}
    for one in files.plan(folders, "ties", rank=2).merged():
        lost = float((whole[one.path] - one.update.delta()).square().sum())
        assert one.discarded == pytest.approx(lost, rel=1e-3)
        assert 0 < one.discarded < one.energy


def test_factorwise_is_what_peft_computes_and_is_not_the_weighted_sum(pair):
    made, folders = pair
    found = files.merged(folders, "factorwise")
    for p, delta in found.items():
        root = math.sqrt(0.5 * 2.0)
        wanted = (sum(root * one.up[p] for one in made) @ sum(root * one.down[p] for one in made)).double()
        torch.testing.assert_close(delta, wanted, atol=1e-4, rtol=0)
    assert files.gap(found, weighted(made, [0.5, 0.5])) > 0.3


# --- the algebra ------------------------------------------------------------------------------------


def test_inner_products_and_truncation_never_need_the_dense_matrix():
    made = files.factors(1), files.factors(2, rank=3)
    a, b = (Update(down=m.down[p], up=m.up[p], scale=m.scale[p]) for m in made for p in files.PATHS[:1])
    assert a.inner(b) == pytest.approx(float((a.delta() * b.delta()).sum()), rel=1e-5)
    both = combined([a, b], [0.3, -2])
    cut, lost = both.at_rank(4)
    dense, gone = Dense(matrix=both.delta()).at_rank(4)
    torch.testing.assert_close(cut.delta(), dense.delta(), atol=1e-4, rtol=0)
    assert lost == pytest.approx(gone, rel=1e-3)


def test_large_matrices_are_cut_as_well_as_by_the_whole_svd(monkeypatch):
    draw = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(n, 60, generator=draw))[0] for n in (90, 70))
    matrix = (left * torch.logspace(0, -2, 60)) @ right.T
    wanted, lost = Dense(matrix=matrix).at_rank(8)
    monkeypatch.setattr("fusion_pipeline.merging.truncation.EXACT", 10)
    found, gone = Dense(matrix=matrix).at_rank(8)
    torch.testing.assert_close(found.delta(), wanted.delta(), atol=2e-3, rtol=0)
    assert gone == pytest.approx(lost, rel=1e-3)
