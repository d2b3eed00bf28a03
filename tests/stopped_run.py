"""Runs a stage and ends its own process at a chosen moment: what the tests of resuming start.

python stopped_run.py saving 4 stage=fusion …      kill -9 in the middle of saving the checkpoint of step 4
python stopped_run.py stepping 9 stage=fusion …    SIGTERM in step 9
python stopped_run.py publishing 0 stage=fusion …  kill -9 while the artefact is being written
"""

import os
import signal
import sys
import time
from pathlib import Path

import tiny

from fusion_pipeline import store
from fusion_pipeline.training.trainer import PipelineTrainer


def end(how):
    os.kill(os.getpid(), how)
    time.sleep(60)


def while_saving(step):
    save = PipelineTrainer._save_optimizer_and_scheduler

    def stopped(self, folder):
        if self.state.global_step == step:
            (Path(folder) / "optimizer.pt").write_bytes(b"PK\x03\x04 half of it")
            end(signal.SIGKILL)
        save(self, folder)

    PipelineTrainer._save_optimizer_and_scheduler = stopped


def while_stepping(step):
    train = PipelineTrainer.training_step

    def stopped(self, *args, **kwargs):
        if self.state.global_step + 1 == step:
            end(signal.SIGTERM)
        return train(self, *args, **kwargs)

    PipelineTrainer.training_step = stopped


def while_publishing(_step):
    save = store.save_tensors

    def stopped(path, tensors):
        save(path, tensors)
        end(signal.SIGKILL)

    store.save_tensors = stopped


if __name__ == "__main__":
    when, step, *words = sys.argv[1:]
    {"saving": while_saving, "stepping": while_stepping, "publishing": while_publishing}[when](int(step))
    tiny.stage(*words)
