"""Trained baselines on small embedded tasks: what the tests of baselines share."""

import pytest
import tiny

SMALL = ("data.max_train=40", "data.max_validation=16", "data.max_test=16")


class Bench:
    """Runs stages that leave their things in one folder."""

    def __init__(self, out):
        self.out = out

    def __call__(self, *words):
        tiny.stage(f"output_root={self.out}", *SMALL, *words)

    def train(self, kind, *words, name=None, target="review_check"):
        """The folder of a baseline, trained here."""
        name = name or f"{target}-{kind}"
        self("stage=baseline", f"baseline={kind}", f"target={target}", f"name={name}", *words)
        return self.out / "baselines" / name


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    """A folder with two source adapters."""
    made = Bench(tmp_path_factory.mktemp("baselines"))
    made("stage=adapters", "task=[sentiment,nli]", "trainer.learning_rate=1e-2")
    return made
