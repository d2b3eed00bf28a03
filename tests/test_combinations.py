"""Every fusion over every adapter kind trains three steps through the real stages, or is refused with its reason."""

import pytest
import tiny

from fusion_pipeline import AdaptedModel
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.registry import options

TASKS = ("sentiment", "nli", "topic")
DEBUG = ("experiment=debug", "trainer.use_cpu=true", "trainer.disable_tqdm=true")


def stage(out, *words, monkeypatch):
    # The preset itself decides on backbone, steps and batches.
    monkeypatch.setattr(tiny, "QUICK", ())
    tiny.stage(*DEBUG, f"output_root={out}", *words)


@pytest.mark.parametrize("kind", options("adapter"))
def test_a_kind_is_fused_by_every_mechanism_or_refused(kind, tmp_path, monkeypatch):
    for task in TASKS:
        stage(tmp_path, "stage=adapters", f"task={task}", f"adapter={kind}", monkeypatch=monkeypatch)
    for fusion in options("fusion"):
        words = ("stage=fusion", f"fusion={fusion}", f"adapters=[{','.join(TASKS)}]", "target=review_check")
        if kind == "prompt":
            with pytest.raises(PipelineError, match="changes the input and has no delta to fuse"):
                stage(tmp_path, *words, f"name={fusion}", monkeypatch=monkeypatch)
            continue
        stage(tmp_path, *words, f"name={fusion}", monkeypatch=monkeypatch)
        folder = tmp_path / "fusion" / fusion
        assert tiny.metrics(folder)["steps"] == 3
        said = AdaptedModel.load(folder).predict([("It was fine.", "Fine it was.")], fusion_weights=True)[0]
        assert abs(sum(said.probabilities.values()) - 1) < 1e-6
        assert all(weights.shape[-1] == len(TASKS) for weights in said.fusion_weights.values())
