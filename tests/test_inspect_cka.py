"""How alike two adapters are said to be: linear CKA, debiased, on the tokens it claims to look at."""

import json
import shutil

import numpy as np
import pytest
import tiny
import torch
from inspected import looked

from fusion_pipeline import AdaptedModel
from fusion_pipeline.inspection.redundancy import Comparing, centred_gram, cka
from fusion_pipeline.store import Manifest

pytest_plugins = ("loud",)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def similarity(x, y):
    grams = torch.stack([centred_gram(x).flatten(), centred_gram(y).flatten()])
    return cka(grams @ grams.T, 0, 1)


def textbook(x, y):
    """Unbiased HSIC, term by term (Song et al. 2012, equation 4)."""
    n = len(x)
    k, m = (x @ x.T).fill_diagonal_(0), (y @ y.T).fill_diagonal_(0)
    one = torch.ones(n, dtype=torch.float64)
    product = torch.trace(k @ m) + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return (product - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3))


def test_it_is_the_unbiased_estimator():
    x, y = draw(30, 6), draw(30, 9, seed=1)
    y[:, :6] += x
    expected = textbook(x, y) / (textbook(x, x) * textbook(y, y)).sqrt()
    assert similarity(x, y) == pytest.approx(float(expected), abs=1e-12)


def test_equal_outputs_have_1_and_rotation_scale_and_shift_change_nothing():
    x, y = draw(40, 8), draw(40, 8, seed=1) + 0.5 * draw(40, 8)
    rotation = torch.linalg.qr(draw(8, 8, seed=2)).Q
    assert similarity(x, x) == pytest.approx(1.0, abs=1e-12)
    assert similarity(x, 3.0 * x @ rotation + draw(8, seed=3)) == pytest.approx(1.0, abs=1e-10)
    assert similarity(x, 7.0 * y @ rotation) == pytest.approx(similarity(x, y), abs=1e-10)


def test_unrelated_outputs_have_none_though_there_are_more_dimensions_than_tokens():
    found = [similarity(draw(50, 200, seed=s), draw(50, 200, seed=100 + s)) for s in range(30)]
    assert abs(np.mean(found)) < 0.02
    assert max(map(abs, found)) < 0.15


def test_an_output_that_does_not_vary_has_no_similarity():
    assert similarity(draw(20, 4), torch.ones(20, 4, dtype=torch.float64)) is None


def test_an_adapter_and_its_copy_under_another_name_are_alike(loud):
    shutil.copytree(loud.adapters / "a", loud.adapters / "twin")
    manifest = json.loads((loud.adapters / "twin" / "manifest.json").read_text())
    (loud.adapters / "twin" / "manifest.json").write_text(json.dumps(manifest | {"name": "twin"}))
    assert Manifest.read(loud.adapters / "twin").name == "twin"
    words = (
        "fusion=weighted",
        "adapters=[a,twin,b]",
        f"target={loud.files['a']}",
        "name=twins",
        "trainer.max_steps=1",
    )
    loud.stage("stage=fusion", *words)
    found = looked(loud, loud.out / "fusion" / "twins", "inspect.split=train")
    table = np.array(found["redundancy"]["mean"])
    assert table[0, 1] == pytest.approx(1.0, abs=1e-6)
    assert np.diag(table) == pytest.approx(np.ones(3), abs=1e-6)
    assert table == pytest.approx(table.T, abs=1e-9)
    assert table[0, 2] < 0.999
    assert found["redundancy"]["size"]["a"] == pytest.approx(found["redundancy"]["size"]["twin"])
    assert np.mean(list(found["redundancy"]["size"].values())) == pytest.approx(1.0)


@pytest.mark.parametrize("prompted", [False, True])
def test_it_looks_at_real_tokens_only_also_behind_a_prompt(loud, prompted):
    model = AdaptedModel.load(loud.fusion)
    if prompted:
        from fusion_pipeline import registry

        model.add_adapter("prompt", registry.build("adapter", "prompt", length=3))
        model.set_active(["a", "b", "prompt"], fusion=model.active_fusion)
    texts, seen = ["grand lamp fine", "a", "awful bleak lamp bleak"], {}

    def see(key, site, bank):
        seen[key] = bank.deltas(bank.hidden(site.x)).double()

    given = tiny.inputs(model, texts)
    comparing = Comparing(seed=0)
    comparing.begin(given["attention_mask"], model.virtual_tokens)
    for probe in (see, comparing.see):
        model.observe(None, probe)
        with torch.no_grad():
            model(**given)
    model.observe(None)
    mask = given["attention_mask"].bool()
    assert comparing.tokens == int(mask.sum())
    for key, deltas in seen.items():
        assert deltas.shape[1] == mask.shape[1] + (3 if prompted else 0)
        x, y = deltas[:, deltas.shape[1] - mask.shape[1] :][mask].unbind(1)
        found = comparing.result().sites[key]
        assert found["cka"][0][1] == pytest.approx(similarity(x, y), abs=1e-6)
        one, other = x.norm(dim=-1).mean(), y.norm(dim=-1).mean()
        assert found["size"]["a"] == pytest.approx(float(2 * one / (one + other)), abs=1e-6)
