"""The fusion that docs/adding-things.md writes works as it stands there: a module and a yaml, nothing else."""

import re
from pathlib import Path

import mechanisms as m
import pytest
import torch

from fusion_pipeline import AdaptedModel, registry
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.registry import folders

pytest_plugins = ("finished",)
PAGE = Path(__file__).resolve().parent.parent / "docs" / "adding-things.md"


@pytest.fixture
def added(tmp_path, monkeypatch):
    """The documented module and yaml, in a folder of a person's own."""
    section = PAGE.read_text(encoding="utf-8").split("## A fusion\n")[1].split("\n## ")[0]
    module, config = (
        re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL)[0] for kind in ("python", "yaml")
    )
    (tmp_path / "fusion").mkdir()
    (tmp_path / "similarity_of_mine.py").write_text(module)
    own = config.replace("fusion_pipeline.fusion.similarity", "similarity_of_mine")
    (tmp_path / "fusion" / "similarity.yaml").write_text(own)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(folders, "_added", [tmp_path])
    return "similarity"


def test_the_documented_fusion_weighs_and_is_saved(added, made):
    parts, x = m.adapters(), m.draw(2, 4, m.D)
    fused = m.fusion(added)(m.site(x), m.bank(parts))
    each = torch.stack([part(x) for part in parts.values()], -2)
    weights = torch.softmax((each * x.unsqueeze(-2)).sum(-1), -1)
    torch.testing.assert_close(fused.weights, weights)
    torch.testing.assert_close(fused.delta, (weights.unsqueeze(-1) * each).sum(-2))
    words = (f"fusion={added}", "fusion.temperature=2", f"target={made.files['a']}", "trainer.max_steps=1")
    made.stage("stage=fusion", "adapters=[a,b]", "name=mine", *words)
    model = AdaptedModel.load(made.out / "fusion" / "mine")
    assert model.fusions["mine"].spec.temperature == 2
    assert model.predict(["a lamp"], fusion_weights=True)[0].fusion_weights
    with pytest.raises(PipelineError, match="temperature=0"):
        registry.build("fusion", added, temperature=0.0)
