"""stage=merge as a person types it: the method's own options, weights by layer, methods from outside."""

import json

import adapter_files as files
import pytest

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.merging.weights import Weights

PATHS = [f"model.layers.{i}.self_attn.{name}_proj" for i in range(5) for name in "qv"]

OUTSIDE = """\
from dataclasses import dataclass
from fusion_pipeline.merging.method import Spanning


@dataclass(frozen=True, kw_only=True)
class Loudest(Spanning):
    kind: str = "loudest"
    sharpness: float = 1.0

    def coefficients(self, gram, weights):
        return (gram.diagonal().log() * self.sharpness).softmax(0).tolist()
"""


@pytest.fixture
def two(tmp_path):
    return [files.write_peft(tmp_path / name, files.factors(i)) for i, name in enumerate("ab")]


def record(folder):
    return json.loads((folder / "merge.json").read_text())


def test_options_of_the_method_are_words_of_their_own(cli, tmp_path, two):
    words = ("stage=merge", f"adapters=[{two[0]},{two[1]}]", f"output={tmp_path / 'out'}")
    done = cli(*words, "method=ties", "density=0.3", "weights=[1,2]", "seed=4")
    assert done.returncode == 0, done.stderr
    assert "discarded energy" in done.stdout
    said = record(tmp_path / "out")
    assert said["method"] == {"kind": "ties", "normalize": True, "density": 0.3, "scaling": 1.0}
    assert (said["weights"], said["seed"]) == ([1, 2], 4)
    wrong = cli(*words, "method=linear", "density=0.3", "overwrite=true")
    assert wrong.returncode == 2
    assert "there is no option 'merge.density'" in wrong.stderr
    assert "did you mean 'ties'" in cli(*words, "method=tie").stderr
    assert cli(*words, "colour=red").returncode == 2


def test_a_sweep_goes_over_methods(cli, tmp_path, two):
    words = ("-m", "stage=merge", f"adapters=[{two[0]},{two[1]}]", f"output_root={tmp_path / 'root'}")
    done = cli(*words, "method=linear,ties", "name=x")
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (tmp_path / "root" / "merged").iterdir())
    assert names == ["x-merge=linear", "x-merge=ties"]


def test_a_method_from_outside_is_one_file_and_one_yaml(cli, tmp_path, two):
    (cli.configs / "merge").mkdir()
    (cli.configs / "merge" / "loudest.yaml").write_text(
        "_target_: loudest.Loudest\nkind: loudest\nnormalize: true\nsharpness: 1.0\n"
    )
    (cli.configs / "loudest.py").write_text(OUTSIDE)
    words = ("--config-dir", str(cli.configs), "stage=merge", f"adapters=[{two[0]},{two[1]}]")
    done = cli(*words, "method=loudest", "sharpness=200", f"output={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    assert record(tmp_path / "out")["method"]["sharpness"] == 200
    made = [files.factors(i).deltas() for i in range(2)]
    for path, delta in files.read(tmp_path / "out").items():
        loudest = max(made, key=lambda one: float(one[path].norm()))
        assert float((delta - loudest[path]).norm()) < 1e-3 * float(delta.norm())


def test_help_and_config_know_the_methods(cli):
    assert "merge " in cli("--help").stdout
    said = cli("stage=merge", "method=slerp", "t=0.2", "--cfg", "job").stdout
    assert "t: 0.2" in said


# --- weights ----------------------------------------------------------------------------------------


def test_layers_ranges_and_patterns_override_each_other_in_order():
    rules = {"*": [0.5, 0.5], "0-1": [1, 0], "*v_proj": [0, 1], "1": [3, 4]}
    found = Weights(count=2, plain=[9, 9], layered=rules).over(PATHS)
    assert found[PATHS[0]] == (1, 0)
    assert found[PATHS[1]] == (0, 1)
    assert found[PATHS[2]] == found[PATHS[3]] == (3, 4)
    assert found[PATHS[4]] == (0.5, 0.5)
    assert found[PATHS[9]] == (0, 1)


def test_a_gradient_runs_over_the_depth():
    found = Weights(count=2, layered={"*": [[1, 0], [0, 1]]}).over(PATHS)
    assert [found[path][1] for path in PATHS[::2]] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    three = Weights(count=2, layered={"0-4": [[1, 0], [0, 1], [1, 0]]}).over(PATHS)
    assert [three[path][1] for path in PATHS[::2]] == pytest.approx([0, 0.5, 1, 0.5, 0])
    part = Weights(count=1, layered={"2-4": [[1], [3]]}).over(PATHS)
    assert [part[path][0] for path in PATHS[::2]] == pytest.approx([1, 1, 1, 2, 3])


def test_layer_weights_reach_the_merge(cli, tmp_path, two):
    words = ("stage=merge", f"adapters=[{two[0]},{two[1]}]", f"output={tmp_path / 'out'}")
    done = cli(*words, "layer_weights={*:[[1,0],[0,1]]}")
    assert done.returncode == 0, done.stderr
    found, made = files.read(tmp_path / "out"), [files.factors(i).deltas() for i in range(2)]
    for path in files.PATHS:
        one = made[0] if ".0." in path else made[1]
        assert float((found[path] - one[path]).abs().max()) < 1e-5


def test_zeros_for_a_layer_leave_it_alone_where_nothing_is_normalised(two):
    options = {"normalize": False}
    found = files.merged(two, "linear", options, layer_weights={"1": [0, 0]})
    assert all(float(delta.norm()) == 0 for path, delta in found.items() if ".1." in path)
    with pytest.raises(PipelineError, match="sum to zero"):
        files.plan(two, "linear", layer_weights={"1": [0, 0]})
