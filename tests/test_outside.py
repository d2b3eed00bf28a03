"""One thing of each kind from outside the package, through the real command line: the page's own snippets."""

import hashlib
import json
import random
import re
import shutil
import sys

import documented
import pytest
import tiny

from fusion_pipeline import AdaptedModel
from fusion_pipeline.cli.main import main
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.registry import folders
from fusion_pipeline.tasks import types

WORDS = {"1": "awful", "2": "so-so", "3": "grand"}


def stars(count=60):
    draw = random.Random(0)
    made = []
    for number in range(count):
        label = str(1 + number % 3)
        made.append({"text": f"{WORDS[label]} {draw.randint(0, 999)}", "label": label})
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with everything from outside, two artefacts trained with it, and the command line as a function."""
    root = tmp_path_factory.mktemp("outside")
    written = documented.install(root)
    card = {"task_type": "ordinal", "label_names": ["1", "2", "3"]}
    for name, more in (("grades", card), ("reviews_with_stars", {})):
        (root / name).mkdir()
        (root / name / "dataset.json").write_text(json.dumps({"name": name, **more}))
        (root / name / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in stars()))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root))
        patch.setattr(folders, "_added", [])
        yield Made(root, written, patch)


class Made:
    def __init__(self, root, written, patch):
        self.root, self.written, self.patch, self.out = root, written, patch, root / "out"
        short = ("adapter=scale", "trainer.learning_rate=0.01", "trainer.max_steps=3")
        local = ("task=stars", "data=local", f"data.root={root}")
        self.codes = [
            self("stage=adapters", *local, *short, "head=linear", "backbone.random=ernie", "name=family"),
            self("stage=adapters", *local, *short),
            self("stage=adapters", f"task={root}/grades", *short),
            self(
                "stage=fusion",
                "fusion=similarity",
                "adapters=[stars,grades]",
                f"target={root}/grades",
                *short,
            ),
        ]

    def __call__(self, *words):
        return self.bare("--config-dir", str(self.root / "mine"), *words)

    def bare(self, *words):
        """The command line without the folder."""
        return main([*tiny.QUICK, f"output_root={self.out}", *words])


def test_the_page_shows_one_of_each(made):
    assert made.written == {
        *(f"outside/{name}.py" for name in ("bias_only", "ordinal", "scale", "similarity", "size")),
        *(
            f"mine/{name}.yaml"
            for name in ("task_type/ordinal", "task/stars", "adapter/scale", "sites/ernie")
        ),
        *(f"mine/{name}.yaml" for name in ("fusion/similarity", "stage/size", "head/linear")),
        "mine/baseline/bias_only.yaml",
    }


def test_all_of_them_train_and_say_what_they_are(made):
    assert made.codes == [0, 0, 0, 0]
    metrics = tiny.metrics(made.out / "fusion" / "grades")
    assert {"accuracy", "distance"} <= metrics["test"].keys()
    said = json.loads((made.out / "fusion" / "grades" / "model.json").read_text())
    assert said["fusion"]["target"] == "outside.similarity.SimilaritySpec"
    assert said["types"] == {"ordinal": "outside.ordinal.Ordinal"}
    family = json.loads((made.out / "adapters" / "family" / "model.json").read_text())
    assert family["heads"]["stars"]["layers"] == 1
    manifest = json.loads((made.out / "adapters" / "family" / "manifest.json").read_text())
    assert manifest["backbone"]["model_type"] == "ernie"


def test_a_stage_from_outside_runs_with_its_own_options(made, capsys):
    assert made("stage=size", f"run={made.out}/fusion/grades", "power=10") == 0
    assert "grades: " in capsys.readouterr().out
    assert made("stage=size", f"run={made.out}/fusion/grades", "powr=10") == 2
    assert "power" in capsys.readouterr().err


def test_a_baseline_from_outside_trains(made):
    words = ("stage=baseline", "baseline=bias_only", f"target={made.root}/grades", "trainer.max_steps=2")
    assert made(*words, "name=biases") == 0
    assert {"accuracy", "distance"} <= tiny.metrics(made.out / "baselines" / "biases")["test"].keys()


def test_they_evaluate_and_predict(made, capsys):
    assert made("stage=evaluate", f"run={made.out}/fusion/grades") == 0
    again = json.loads((made.out / "evaluate" / "fusion-grades.json").read_text())
    assert again["test"].items() <= tiny.metrics(made.out / "fusion" / "grades")["test"].items()
    capsys.readouterr()
    assert made("stage=predict", f"run={made.out}/fusion/grades", "text=grand 7") == 0
    assert re.search(r"^  [123]$", capsys.readouterr().out, re.MULTILINE)


# --- as somebody else has it, who got the artefacts and not the folder -----------------------------


@pytest.fixture
def alone(made, monkeypatch):
    monkeypatch.setattr(folders, "_added", [])
    monkeypatch.setattr(types, "_recorded", {})
    for name in [name for name in sys.modules if name.partition(".")[0] == documented.PACKAGE]:
        monkeypatch.delitem(sys.modules, name)
    return made


def imported():
    return [name for name in sys.modules if name.partition(".")[0] == documented.PACKAGE]


NOT_ENOUGH = ((), ("out",), ("outside.sca",), ("outside_of", "utside"), ("outside.scale.ScaleSpec",))


@pytest.mark.parametrize("trust", NOT_ENOUGH)
def test_nothing_an_artefact_names_is_imported_unless_that_module_is_trusted(alone, trust):
    with pytest.raises(PipelineError) as caught:
        AdaptedModel.load(alone.out / "adapters" / "stars", trust=trust)
    assert "the artefact names outside.scale.ScaleSpec" in str(caught.value)
    assert "trust=[outside.scale]" in str(caught.value)
    assert imported() == []


def test_the_command_line_says_which_module_would_have_to_be_trusted(alone, capsys):
    words = ("stage=predict", f"run={alone.out}/fusion/grades", "text=grand 7")
    assert alone.bare(*words) == 2
    assert "trust=[outside.ordinal]" in capsys.readouterr().err
    assert alone.bare(*words, "trust=[outside.ordinal]") == 2
    assert "trust=[outside.scale]" in capsys.readouterr().err
    assert alone.bare(*words, "trust=[outside.ordinal,outside.scale]") == 2
    assert "trust=[outside.similarity]" in capsys.readouterr().err


@pytest.mark.parametrize(
    "trust", ["[outside]", "outside", "[outside.ordinal,outside.scale,outside.similarity]"]
)
def test_a_trusted_module_and_its_submodules_make_the_same_model(alone, capsys, trust):
    words = ("stage=predict", f"run={alone.out}/fusion/grades", "text=grand 7")
    assert alone.bare(*words, f"trust={trust}") == 0
    first = capsys.readouterr().out
    assert alone("stage=predict", f"run={alone.out}/fusion/grades", "text=grand 7") == 0
    assert capsys.readouterr().out == first


def test_trust_is_never_taken_from_a_file(alone, tmp_path):
    folder = tmp_path / "adapters" / "stars"
    shutil.copytree(alone.out / "adapters" / "stars", folder)
    changed(folder, "manifest.json", lambda said: said["config"].update(trust=["outside"]))
    for name in ("config.yaml", "model.json"):
        manifest_of(folder, name, (folder / name).read_text().replace("trust: []", "trust: [outside]"))
    with pytest.raises(PipelineError, match="trust="):
        AdaptedModel.load(folder)
    assert imported() == []


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "outside.scale.nn.Linear",
        "outside.scale.Tensor",
        "outside.scale.Scale",
        "outside.scale.nothing",
        "fusion_pipeline.artefacts.write_head",
        "fusion_pipeline.adapters.bottleneck.BottleneckSpec",
        "../outside.scale",
        "ScaleSpec",
        "",
        7,
        None,
    ],
)
def test_a_target_that_is_no_spec_of_a_trusted_module_is_refused(alone, tmp_path, target):
    folder = tmp_path / "adapters" / "stars"
    shutil.copytree(alone.out / "adapters" / "stars", folder)
    said = json.loads((folder / "model.json").read_text())
    said["adapter"]["target"] = target
    manifest_of(folder, "model.json", json.dumps(said))
    with pytest.raises(PipelineError):
        AdaptedModel.load(folder, trust=["outside", "fusion_pipeline"])


@pytest.mark.parametrize("wrong", ["[1]", "[a b]", "[a/b]", "[.a]", "{a: b}", "[null]"])
def test_trust_is_a_list_of_names_of_modules(alone, capsys, wrong):
    assert alone.bare("stage=predict", f"run={alone.out}/fusion/grades", "text=a", f"trust={wrong}") == 2
    assert "trust" in capsys.readouterr().err
    assert imported() == []


def manifest_of(folder, name, text):
    """Writes a file of an artefact, with a manifest that vouches for it."""
    (folder / name).write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    changed(folder, "manifest.json", lambda said: said["files"].update({name: digest}))


def changed(folder, name, change):
    said = json.loads((folder / name).read_text())
    change(said)
    (folder / name).write_text(json.dumps(said))
