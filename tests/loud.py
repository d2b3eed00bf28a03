"""Two adapters that say something and a fusion that hears it, made once."""

import pytest
import tiny
from finished import Made, Stage

# Unlike the product's own start, near zero: weights then differ from token to token.
LOUD = (
    "adapter.init_std=0.5",
    "adapter.activation=tanh",
    "fusion.init_std=0.7",
    "trainer.learning_rate=0.02",
)


@pytest.fixture(scope="session")
def loud(tmp_path_factory):
    """{root, files, fusion} as `made` has them."""
    root = tmp_path_factory.mktemp("loud")
    sizes = {"a": 101, "b": 47}
    files = {name: tiny.write_csv(root / f"{name}.csv", tiny.rows(size)) for name, size in sizes.items()}
    stage = Stage(root / "out")
    for file in files.values():
        stage("stage=adapters", f"task={file}", *LOUD)
    stage("stage=fusion", "adapters=[a,b]", f"target={files['a']}", *LOUD)
    return Made(root / "out", files)
