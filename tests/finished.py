"""Finished runs, made once: two adapters and a fusion of them, on data files of one's own."""

import shutil

import pytest
import tiny

SIZES = {"a": 61, "b": 47}


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Two adapters and a fusion of them, made once: {root, files, fusion}."""
    root = tmp_path_factory.mktemp("stages")
    files = {name: tiny.write_csv(root / f"{name}.csv", tiny.rows(size)) for name, size in SIZES.items()}
    out = root / "out"
    stage = Stage(out)
    for file in files.values():
        stage("stage=adapters", f"task={file}", "trainer.num_train_epochs=2")
    stage("stage=fusion", "adapters=[a,b]", f"target={files['a']}", "trainer.num_train_epochs=2")
    return Made(out, files)


class Stage:
    """Runs stages that leave their things in one folder."""

    def __init__(self, out):
        self.out = out

    def __call__(self, *words, columns=True):
        named = tiny.columns() if columns else ()
        tiny.stage(f"output_root={self.out}", *named, *words)


class Made:
    def __init__(self, out, files):
        self.out, self.files = out, files
        self.fusion, self.adapters = out / "fusion" / "a", out / "adapters"
        self.stage, self.sizes = Stage(out), SIZES


@pytest.fixture
def copied(made, tmp_path):
    """A copy of everything, to be damaged."""
    shutil.copytree(made.out, tmp_path / "out")
    return Made(tmp_path / "out", made.files)
