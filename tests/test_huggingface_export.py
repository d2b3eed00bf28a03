"""Fine-tuned models as ordinary Hugging Face folders: transformers' own classes give the same numbers."""

import pytest
import tiny
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from fusion_pipeline import AdaptedModel
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.heads import HeadSpec
from fusion_pipeline.interop.huggingface.exchange import write

pytest_plugins = ("bench",)
FORMS = {
    "bert": ("tanh", 2),
    "roberta": ("tanh", 2),
    "distilbert": ("relu", 2),
    "electra": ("gelu", 2),
    "albert": ("tanh", 2),
    "deberta-v2": ("gelu", 2),
}


@pytest.mark.parametrize("labels", [("a", "b", "c"), None])
@pytest.mark.parametrize("family", FORMS)
def test_transformers_own_classifier_gives_the_same_logits(tmp_path, family, labels):
    model, (activation, layers) = tiny.adapted(family), FORMS[family]
    kind = (
        {"type": "classification", "labels": labels}
        if labels
        else {"type": "regression", "shift": 3, "scale": 2}
    )
    model.add_head("task", HeadSpec(activation=activation, layers=layers, **kind))
    tiny.shake(model, 0.3)
    model.set_active(None, head="task")
    (note,) = write(model.eval(), tmp_path / "out")
    assert "the same logits" in note
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    batch = tiny.inputs(model)
    with torch.no_grad():
        torch.testing.assert_close(theirs(**batch).logits, model(**batch).logits, rtol=1e-4, atol=1e-5)
    if labels:
        assert theirs.config.id2label == dict(enumerate(labels))


def test_a_head_of_another_form_lies_beside_the_backbone(tmp_path):
    model = tiny.adapted(pooling="mean")
    tiny.add_head(model, "task")
    tiny.shake(model, 0.3)
    model.set_active(None, head="task")
    notes = write(model.eval(), tmp_path / "out")
    assert "no class for task" in notes[1]
    theirs, batch = AutoModel.from_pretrained(tmp_path / "out").eval(), tiny.inputs(model)
    with torch.no_grad():
        ours = model(**batch, output_hidden_states=True).last_hidden_state
        torch.testing.assert_close(theirs(**batch).last_hidden_state, ours)
    assert (tmp_path / "out" / "fusion_pipeline_heads.safetensors").is_file()


def test_a_fine_tuned_artefact_goes_out_through_the_command_line(bench, tmp_path):
    folder = bench.train("full", "trainer.max_steps=2", name="out")
    out = tmp_path / "exported"
    with pytest.raises(PipelineError, match="no place for a fine-tuned backbone"):
        bench("stage=export", f"run={folder}", f"output={out}")
    bench("stage=export", "format=huggingface", f"run={folder}", f"output={out}")
    model = AdaptedModel.load(folder)
    theirs = AutoModelForSequenceClassification.from_pretrained(out).eval()
    text = AutoTokenizer.from_pretrained(out)("a lamp", "a fine lamp", return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(theirs(**text).logits, model(**text).logits)
    with pytest.raises(PipelineError, match="an export lies here already"):
        bench("stage=export", "format=huggingface", f"run={folder}", f"output={out}")
    bench("stage=export", "format=huggingface", f"run={folder}", f"output={out}", "overwrite=true")
    nli = bench.out / "adapters" / "nli"
    with pytest.raises(PipelineError, match="no place for adapters"):
        bench("stage=export", "format=huggingface", f"run={nli}", f"output={tmp_path / 'x'}")
    with pytest.raises(PipelineError, match="needs no import"):
        bench("stage=import", "format=huggingface", f"path={out}")
    # It is a backbone like any other.
    bench("stage=adapters", "task=topic", f"backbone.path={out}", "name=on-tuned", "trainer.max_steps=1")
