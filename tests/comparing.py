"""Small comparisons on dataset folders of one's own."""

import csv
import json

import tiny


def write_task(root, name, *, mostly=None, size=24, seed=0):
    """A folder with all three splits. `mostly`: five of six rows of train and validation bear this label, one of
    six of test."""
    folder = root / name
    folder.mkdir(parents=True)
    card = {"task_type": "classification", "label_names": ["no", "yes"]}
    (folder / "dataset.json").write_text(json.dumps(card))
    for part, split in enumerate(("train", "validation", "test")):
        rows = tiny.rows(size, seed=10 * seed + part)
        if mostly is not None:
            rows = [(text, _label(n, mostly, split)) for n, (text, _) in enumerate(rows)]
        tiny.write_csv(folder / f"{split}.csv", rows)


def _label(number, mostly, split):
    other = "yes" if mostly == "no" else "no"
    return mostly if (number % 6 > 0) == (split != "test") else other


class Comparing:
    """Runs comparisons of one folder of data."""

    def __init__(self, root):
        self.data, self.out = root / "data", root / "out"
        for number, name in enumerate(("a", "b", "t")):
            write_task(self.data, name, seed=number)

    def words(self, *words, contenders="single,adapterfusion", seeds="1", steps=2):
        given = [word.partition("=")[0] for word in words]
        defaults = {
            "adapters": "[a,b]",
            "target": "t",
            "name": "c",
            "contenders": f"[{contenders}]",
            "seeds": seeds,
            "trainer.max_steps": steps,
        }
        own = [f"{key}={value}" for key, value in defaults.items() if key not in given]
        place = (f"output_root={self.out}", "data=local", f"data.root={self.data}")
        return ["stage=compare", *place, *own, *words]

    def __call__(self, *words, **options):
        tiny.stage(*self.words(*words, **options))

    def rows(self, name="c"):
        """results.csv."""
        with (self.out / "compare" / name / "results.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    def json(self, file, name="c"):
        return json.loads((self.out / "compare" / name / file).read_text())

    def artefacts(self):
        """When each artefact was written."""
        found = self.out.glob("*/*/manifest.json")
        return {f"{path.parent.parent.name}/{path.parent.name}": path.stat().st_mtime_ns for path in found}
