"""Inspections of finished runs, read back."""

import json

QUICK = ("inspect.tokens=256", "inspect.resamples=100", "inspect.pictures=false")


def looked(made, run=None, *words, name=None):
    """Inspects a run and reads what was found."""
    name = name or (run or made.fusion).name
    made.stage("stage=inspect", f"run={run or made.fusion}", *QUICK, f"name={name}", *words, columns=False)
    return json.loads((made.out / "inspect" / name / "inspect.json").read_text())
