"""The adapter that docs/adding-things.md adds is a module and a yaml, and nothing else."""

import re
from pathlib import Path

import pytest
import tiny
from kinds import gradients

from fusion_pipeline import AdaptedModel, registry
from fusion_pipeline.adapters.building import count_parameters
from fusion_pipeline.registry import folders

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def added(tmp_path, monkeypatch):
    """The page's module and yaml, in folders of one's own."""
    page = (DOCS / "adding-things.md").read_text(encoding="utf-8").split("## An adapter kind")[1]
    code, config = (re.search(rf"```{name}\n(.*?)```", page, re.DOTALL)[1] for name in ("python", "yaml"))
    (tmp_path / "scale_of_docs.py").write_text(code)
    mine = tmp_path / "mine" / "adapter"
    mine.mkdir(parents=True)
    (mine / "scale.yaml").write_text(config.replace("fusion_pipeline.adapters.scale", "scale_of_docs"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(folders, "_added", [])
    registry.add_config_dir(tmp_path / "mine")
    return tmp_path


def test_the_documented_adapter_trains_is_saved_and_comes_back(added):
    data = tiny.write_csv(added / "own.csv", tiny.rows(40))
    words = ("adapter=scale", f"output_root={added}", "trainer.max_steps=3", *tiny.columns())
    tiny.stage("stage=adapters", f"task={data}", *words)
    model = AdaptedModel.load(added / "adapters" / "own")
    spec = model.adapters["own"].spec
    widths = model._routing.widths(spec.rows(model.table))
    assert len(widths) == 4
    assert count_parameters(spec, widths) == sum(p.numel() for p in model.adapters["own"].parameters())
    model.train_only(adapters=["own"])
    assert all(grad.any() for grad in gradients(model.train()).values())


def test_the_page_on_kinds_lists_every_kind():
    listed = re.findall(r"^\| `(\w+)` \|", (DOCS / "adapters.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == registry.options("adapter")
