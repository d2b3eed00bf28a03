"""The figures of a merge are those of the dense updates, and the report says them."""

import json

import merged
import pytest
import torch
from safetensors.torch import load_file

from fusion_pipeline.merging.quality import SAMPLED, conflicts, effective_rank, elements
from fusion_pipeline.merging.update import Update


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return merged.adapters(tmp_path_factory.mktemp("quality"))


def update(seed=0, rank=3, d_out=20, d_in=10, scale=0.7):
    draw = torch.Generator().manual_seed(seed)
    down, up = torch.randn(rank, d_in, generator=draw), torch.randn(d_out, rank, generator=draw)
    return Update(down=down.double(), up=up.double(), scale=scale)


def dense(root, name, path):
    """ΔW of a saved adapter, from its file and settings alone."""
    folder = root / "adapters" / name
    tensors = load_file(folder / "adapter.safetensors")
    values = json.loads((folder / "model.json").read_text())["adapter"]["values"]
    site = f"{path.rpartition('.')[2]}.{path.split('.')[2]}"
    return (
        values["alpha"] / values["rank"] * tensors[f"{site}.up"].double() @ tensors[f"{site}.down"].double()
    )


def test_the_report_says_what_the_dense_updates_are(root):
    assert merged.merge(root, "name=both", "report=true", "weights=[0.7,0.3]") == 0
    found = json.loads((root / "adapters/both/fusion_report.json").read_text())
    assert len(found["modules"]) == 4
    for module in found["modules"]:
        one, two, both = (dense(root, name, module["path"]) for name in ("one", "two", "both"))
        torch.testing.assert_close(both, 0.7 * one + 0.3 * two, rtol=1e-5, atol=1e-6)
        cosine = float((one * two).sum() / one.norm() / two.norm())
        assert module["cosines"][0][1] == pytest.approx(cosine, abs=1e-6)
        assert module["to_merged"][1] == pytest.approx(
            float((two * both).sum() / two.norm() / both.norm()), abs=1e-5
        )
        assert module["norms"] == pytest.approx([float(one.norm()), float(two.norm())], rel=1e-5)
        assert module["norm"] == pytest.approx(float(both.norm()), rel=1e-5)
        disputed = (torch.sign(one) != torch.sign(two)).double().mean()
        assert module["conflicts"] == pytest.approx(float(disputed), abs=1e-9)
        for value, matrix in zip(module["effective_ranks"], (one, two, both), strict=True):
            shares = torch.linalg.svdvals(matrix)
            shares = shares[shares > 1e-7 * shares[0]] / shares.sum()
            assert value == pytest.approx(float(torch.exp(-(shares * shares.log()).sum())), rel=1e-3)
    report = (root / "adapters/both/fusion_report.md").read_text()
    assert "| 0 |" in report
    assert "| 1 |" in report
    assert (root / "adapters/both/fusion_report.png").stat().st_size > 10_000


def test_the_shift_of_outputs_is_that_of_the_hidden_states(root, tmp_path):
    from fusion_pipeline import AdaptedModel

    (tmp_path / "probe.txt").write_text("a lamp\n\nthis one is longer\n")
    assert (
        merged.merge(root, "name=shifted", "report=true", f"probe={tmp_path / 'probe.txt'}", "weights=[1,0]")
        == 0
    )
    shift = json.loads((root / "adapters/shifted/fusion_report.json").read_text())["shift"]
    model = AdaptedModel.load(root / "adapters" / "one")
    sizes = []
    for text in ("a lamp", "this one is longer"):
        given = dict(model.info.tokenizer(text, return_tensors="pt"))
        given.pop("token_type_ids", None)
        states = []
        for active in ("one", None):
            model.set_active(active)
            with torch.no_grad():
                states.append(model(**given, output_hidden_states=True).last_hidden_state[0].double())
        sizes.append((states[0] - states[1]).norm(dim=-1) / states[1].norm(dim=-1))
    assert shift["texts"] == 2
    assert shift["inputs"]["one"] == pytest.approx(float(torch.cat(sizes).mean()), rel=1e-4)
    assert shift["merged"] == pytest.approx(shift["inputs"]["one"], rel=1e-5)
    assert shift["to_merged"]["one"] == pytest.approx(1.0, abs=1e-6)


def test_a_cut_rank_shows_as_energy_lost(root):
    assert merged.merge(root, "name=cut", "report=true", "rank=2") == 0
    found = json.loads((root / "adapters/cut/fusion_report.json").read_text())
    for module in found["modules"]:
        whole = (dense(root, "one", module["path"]) + dense(root, "two", module["path"])) / 2
        values = torch.linalg.svdvals(whole) ** 2
        assert module["discarded"] == pytest.approx(float(values[2:].sum() / values.sum()), rel=1e-3)
        assert module["effective_ranks"][-1] <= 2 + 1e-9
    assert 0 < found["discarded_energy"] < 1


def test_peft_output_of_peft_inputs_has_a_report_without_a_backbone(tmp_path):
    import written

    written.peft(tmp_path / "a", written.matrices())
    written.peft(tmp_path / "b", written.matrices(seed=2))
    output = tmp_path / "out"
    assert (
        merged.merge(
            tmp_path, f"adapters=[{tmp_path / 'a'},{tmp_path / 'b'}]", f"output={output}", "report=true"
        )
        == 0
    )
    found = json.loads((output / "fusion_report.json").read_text())
    assert found["shift"] is None
    one, two = (
        2 * up @ down
        for down, up in (written.matrices(seed=s)["model.layers.0.self_attn.q_proj"] for s in (1, 2))
    )
    cosine = float((one * two).sum() / one.norm() / two.norm())
    assert found["modules"][0]["cosines"][0][1] == pytest.approx(cosine, abs=1e-5)
    assert (
        merged.merge(tmp_path, f"adapters=[{tmp_path / 'a'}]", f"output={tmp_path / 'bare'}", "report=false")
        == 0
    )
    assert not (tmp_path / "bare" / "fusion_report.md").exists()


def test_bottlenecks_are_compared_by_their_parameters(tmp_path):
    for seed, name in enumerate("ab"):
        given = [
            "stage=adapters",
            "task=sentiment",
            f"name={name}",
            f"seed={seed}",
            f"output_root={tmp_path}",
        ]
        small = ["backbone=tiny", "trainer.max_steps=1"]
        assert merged.main([*given, *small, *merged.CAPS]) == 0
    assert merged.merge(tmp_path, "adapters=[a,b]", "name=both", "report=true") == 0
    found = json.loads((tmp_path / "adapters/both/fusion_report.json").read_text())
    one, two = (load_file(tmp_path / "adapters" / n / "adapter.safetensors") for n in "ab")
    keys = sorted(key for key in one if key.startswith("ffn.0."))
    flat = [torch.cat([t[key].double().flatten() for key in keys]) for t in (one, two)]
    assert found["modules"][0]["cosines"][0][1] == pytest.approx(
        float(flat[0] @ flat[1] / flat[0].norm() / flat[1].norm())
    )
    assert found["modules"][0]["effective_ranks"] is None


def test_conflicts_count_signs_of_what_both_change():
    values = [torch.tensor([1.0, 1.0, -1.0, 0.0, 0.0]), torch.tensor([1.0, -1.0, -1.0, 5.0, 0.0])]
    assert conflicts(values, [1, 1]) == pytest.approx(1 / 3)
    assert conflicts(values, [1, -1]) == pytest.approx(2 / 3)
    assert conflicts(values, [1, 0]) == 0
    third = torch.tensor([0.0, 0.0, 1.0, -1.0, 1.0])
    # Of the pairs with the third, one shares the one element −1, 1; the other that and 5, −1.
    assert conflicts([*values, third], [1, 1, 1]) == pytest.approx((1 / 3 + 1 + 1) / 3)


def test_effective_rank_of_known_spectra():
    eye = torch.eye(12, dtype=torch.float64)
    assert effective_rank(Update(down=eye[:4], up=eye[:, :4] * 3)) == pytest.approx(4)
    assert effective_rank(Update(down=eye[:1], up=eye[:, :1])) == pytest.approx(1)
    assert effective_rank(Update(down=eye[:4], up=eye[:, :4] * 0)) == 0
    assert effective_rank(Update(down=eye[:0], up=eye[:, :0])) == 0


def test_elements_are_those_of_the_dense_update_at_the_same_places():
    small = [update(seed) for seed in range(2)]
    for found, one in zip(elements(small, 0), small, strict=True):
        torch.testing.assert_close(found, one.delta().flatten())
    large = [update(seed, d_out=400, d_in=300) for seed in range(2)]
    found = elements(large, seed=5)
    draw = torch.Generator().manual_seed(5)
    rows, columns = (
        torch.randint(400, (SAMPLED,), generator=draw),
        torch.randint(300, (SAMPLED,), generator=draw),
    )
    for values, one in zip(found, large, strict=True):
        torch.testing.assert_close(values, one.delta()[rows, columns])
