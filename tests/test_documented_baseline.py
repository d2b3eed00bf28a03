"""The baseline that docs/adding-things.md adds is a module and a yaml in folders of one's own, and nothing else."""

import re
from pathlib import Path

import pytest
import tiny
import torch

from fusion_pipeline import AdaptedModel
from fusion_pipeline.registry import options

pytest_plugins = ("bench",)
DOCS = Path(__file__).resolve().parent.parent / "docs"


@pytest.fixture
def added(cli):
    """The documented module and yaml beside the configs of a person's own."""
    section = (DOCS / "adding-things.md").read_text(encoding="utf-8").split("## A baseline\n")[1]
    module, config = (
        re.search(rf"```{kind}\n(.*?)```", section, re.DOTALL)[1] for kind in ("python", "yaml")
    )
    (cli.configs / "bias_of_mine.py").write_text(module)
    (cli.configs / "baseline").mkdir()
    own = config.replace("fusion_pipeline.baselines.bias_only", "bias_of_mine")
    (cli.configs / "baseline" / "bias_only.yaml").write_text(own)
    return cli


def test_the_documented_baseline_trains_from_a_folder_of_ones_own(added):
    words = [word for word in tiny.QUICK if "epochs" not in word]
    done = added(
        *("--config-dir", str(added.configs), "stage=baseline", "baseline=bias_only", "target=topic"),
        *(
            *words,
            "data.max_train=24",
            "data.max_validation=8",
            "data.max_test=8",
            "trainer.num_train_epochs=1",
        ),
    )
    assert done.returncode == 0, done.stderr
    folder = added.folder / "outputs" / "baselines" / "topic-bias_only"
    model, bare = AdaptedModel.load(folder), tiny.adapted()
    theirs = bare.backbone.state_dict()
    moved = {
        name for name, value in model.backbone.state_dict().items() if not torch.equal(value, theirs[name])
    }
    assert moved
    assert all(name.endswith("bias") and not name.startswith("pooler.") for name in moved)
    assert "encoder.layer.0.output.dense.bias" in moved
    assert "with biases of its own" in (folder / "README.md").read_text()
    assert "learning_rate: 0.001" in (folder / "config.yaml").read_text()


def test_the_page_on_baselines_lists_every_baseline():
    listed = re.findall(r"^\| `(\w+)` \|", (DOCS / "baselines.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == options("baseline")
