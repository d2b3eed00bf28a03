"""Weights on disk: exact, safetensors only, and strict."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fusion_pipeline import store
from fusion_pipeline.errors import PipelineError

torch = pytest.importorskip("torch")


class Unpickled:
    """Leaves a trace when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_tensors_come_back_exactly_also_when_they_share_memory(tmp_path):
    base = torch.randn(4, 6)
    tensors = {
        "a": base,
        "b": base.T,
        "c": base[1:],
        "d": torch.tensor(3),
        "e": torch.randn(2).to(torch.bfloat16),
    }
    store.save_tensors(tmp_path / "w.safetensors", tensors)
    read = store.load_tensors(tmp_path / "w.safetensors")
    assert read.keys() == tensors.keys()
    assert all(
        torch.equal(read[key], tensors[key]) and read[key].dtype == tensors[key].dtype for key in tensors
    )


@pytest.mark.parametrize("old", [True, False])
def test_a_pickle_is_refused_unread(tmp_path, old):
    path, trace = tmp_path / "w.safetensors", tmp_path / "trace"
    torch.save({"x": Unpickled(str(trace))}, path, _use_new_zipfile_serialization=not old)
    with pytest.raises(PipelineError, match="pickle"):
        store.load_tensors(path)
    assert not trace.exists()


def test_a_cut_file_an_empty_file_and_a_missing_file_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    store.save_tensors(path, {"a": torch.zeros(100)})
    content = path.read_bytes()
    for length in (len(content) - 1, 20, 8, 0):
        path.write_bytes(content[:length])
        with pytest.raises(PipelineError, match="truncated"):
            store.load_tensors(path)
    path.unlink()
    with pytest.raises(PipelineError, match="missing"):
        store.load_tensors(path)


def test_loading_names_every_missing_and_unexpected_key_and_every_other_shape():
    module = torch.nn.Linear(3, 2)
    before = module.weight.clone()
    with pytest.raises(PipelineError) as caught:
        store.load_strict(module, {"weight": torch.zeros(2, 4), "extra": torch.zeros(1)}, where="here")
    message = str(caught.value)
    for expected in (
        "missing: bias",
        "unexpected: extra",
        "shape of weight: 2×4 in the file, 2×3",
        "where: here",
    ):
        assert expected in message
    assert torch.equal(module.weight, before)
    store.load_strict(module, {"weight": torch.ones(2, 3), "bias": torch.ones(2)}, where="here")
    assert torch.equal(module.weight, torch.ones(2, 3))


def test_a_full_disk_while_saving_weights_is_told(tmp_path):
    code = f"""
import resource, torch
from fusion_pipeline import store
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    store.save_tensors({str(tmp_path / "w.safetensors")!r}, {{"a": torch.zeros(100_000)}})
except Exception as error:
    print(type(error).__name__, error)
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    assert "PipelineError the disk is full" in done.stdout, done.stderr
