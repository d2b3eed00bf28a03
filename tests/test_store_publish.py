"""Nothing is lost: an artefact is there whole or not at all, whatever happens while it is written."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fusion_pipeline import store
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.store.publish import _swap_in_two_steps

ROOT = Path(__file__).resolve().parent.parent
PRELUDE = """\
import sys, time, os, signal, resource
from pathlib import Path
from fusion_pipeline import store
target = Path(sys.argv[1])
def manifest(seed):
    return store.Manifest(kind="adapter", name=target.name, config={}, seed=seed, backbone={})
def publish(seed, size=1000):
    with store.publish(target, manifest(seed), overwrite=True) as draft:
        (draft / "a.txt").write_text(f"{seed}\\n" * size)
        (draft / "b.txt").write_text(f"{seed}\\n" * size)
"""


def started(code, target):
    command = [sys.executable, "-c", PRELUDE + code, str(target)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def killed(process):
    process.send_signal(signal.SIGKILL)
    process.communicate()


def manifest(name="nli", seed=0):
    return store.Manifest(kind="adapter", name=name, config={}, seed=seed, backbone={})


def save(target, text, fails=None, **options):
    with store.publish(target, manifest(target.name), **options) as draft:
        (draft / "a.txt").write_text(text)
        if fails:
            raise fails


def whole(target):
    """The seed an artefact was written with, once all its files agree on it."""
    seed = store.verify(target).seed
    assert {(target / name).read_text() for name in ("a.txt", "b.txt")} == {f"{seed}\n" * 1000}
    return seed


def test_an_error_while_writing_leaves_the_old_artefact_and_nothing_else(tmp_path):
    target = tmp_path / "nli"
    save(target, "old")
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error):
            save(target, "new", overwrite=True, fails=error)
    assert (target / "a.txt").read_text() == "old"
    store.verify(target)
    assert list(tmp_path.iterdir()) == [target]


def test_an_artefact_that_is_there_is_replaced_only_on_request(tmp_path):
    target = tmp_path / "nli"
    save(target, "old")
    with pytest.raises(PipelineError, match="already there"):
        save(target, "new")
    assert (target / "a.txt").read_text() == "old"
    save(target, "new", overwrite=True)
    assert (target / "a.txt").read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_is_no_artefact_is_never_replaced(tmp_path):
    target = tmp_path / "nli"
    target.mkdir()
    (target / "thesis.txt").write_text("years of work")
    with pytest.raises(PipelineError, match="no artefact"):
        save(target, "new", overwrite=True)
    assert (target / "thesis.txt").read_text() == "years of work"


def test_replacing_in_two_steps_gives_the_same_as_in_one(tmp_path):
    old, new = tmp_path / "nli", tmp_path / "new"
    for folder, text in ((old, "old"), (new, "new")):
        folder.mkdir()
        (folder / "a.txt").write_text(text)
    _swap_in_two_steps(new, old)
    assert (old / "a.txt").read_text() == "new"
    assert list(tmp_path.iterdir()) == [old]


def test_an_old_artefact_left_aside_by_a_killed_run_is_put_back(tmp_path):
    target = tmp_path / "nli"
    save(target, "old")
    target.rename(tmp_path / ".nli.old")
    (tmp_path / ".nli.partial-1").mkdir()
    with store.lock(target):
        assert (target / "a.txt").read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_kill_9_while_writing_leaves_the_old_artefact_and_the_next_run_cleans_up(tmp_path):
    target = tmp_path / "nli"
    code = """
publish(1)
with store.publish(target, manifest(2), overwrite=True) as draft:
    (draft / "a.txt").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""
    process = started(code, target)
    assert process.stdout.readline() == "writing\n"
    killed(process)
    assert whole(target) == 1
    assert len(list(tmp_path.iterdir())) > 1
    save(target, "next", overwrite=True)
    assert list(tmp_path.iterdir()) == [target]


def test_kill_9_at_any_moment_leaves_a_whole_artefact(tmp_path):
    target = tmp_path / "nli"
    code = """
for seed in range(10_000):
    publish(seed)
    if seed == 0:
        print("first", flush=True)
"""
    seeds = []
    for pause in range(6):
        process = started(code, target)
        assert process.stdout.readline() == "first\n"
        time.sleep(0.02 + 0.013 * pause)
        killed(process)
        seeds.append(whole(target))
    assert max(seeds) > 0  # it was killed in the midst of replacing, not before


def test_a_full_disk_while_saving_is_told_and_loses_nothing(tmp_path):
    target = tmp_path / "nli"
    code = """
publish(1)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    publish(2, size=100_000)
except Exception as error:
    print(type(error).__name__, error)
"""
    out, err = started(code, target).communicate(timeout=60)
    assert "PipelineError the disk is full" in out, err
    assert whole(target) == 1
    assert list(tmp_path.iterdir()) == [target]


def test_a_second_process_cannot_write_the_same_folder_and_is_told_who_does(tmp_path):
    target = tmp_path / "nli"
    code = """
with store.lock(target):
    print("holding", flush=True)
    time.sleep(60)
"""
    process = started(code, target)
    assert process.stdout.readline() == "holding\n"
    with pytest.raises(PipelineError, match=f"process {process.pid} on "), store.lock(target):
        pass
    with pytest.raises(PipelineError, match="another run is writing"):
        save(target, "mine")
    with store.lock(tmp_path / "other"):
        pass
    killed(process)
    save(target, "mine")
    assert list(tmp_path.iterdir()) == [target]


def test_a_worker_that_outlives_its_killed_run_does_not_keep_the_lock(tmp_path):
    target = tmp_path / "nli"
    code = """
with store.lock(target):
    child = os.fork()
    if child:
        print(child, flush=True)
    time.sleep(60)
"""
    process = started(code, target)
    worker = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    try:
        os.kill(worker, 0)  # it is still there
        save(target, "mine")
    finally:
        os.kill(worker, signal.SIGKILL)
        process.communicate()


def test_one_process_may_take_its_lock_twice(tmp_path):
    with store.lock(tmp_path / "nli"):
        save(tmp_path / "nli", "mine")
        with store.lock(tmp_path / "nli"):
            pass
        assert (tmp_path / ".nli.lock").exists()
    assert not (tmp_path / ".nli.lock").exists()


def test_a_file_where_a_folder_is_needed_is_told(tmp_path):
    (tmp_path / "outputs").write_text("")
    with pytest.raises(PipelineError, match="a file lies where a folder is needed"):
        save(tmp_path / "outputs" / "nli", "x")
