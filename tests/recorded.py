"""Models made of the recorded folders: what the tests of AdapterHub's format share."""

import json
from pathlib import Path

import golden
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from fusion_pipeline import AdaptedModel
from fusion_pipeline.backbone import BackboneSpec

NAMES = ("a", "b", "c")
FUSED = "a,b,c"
EXACT = {"rtol": 0, "atol": 1e-10}


def base(folder, **values):
    """The recorded backbone, with the attention it was recorded with."""
    return BackboneSpec(kind="custom", path=str(Path(folder) / "base"), attention="eager", **values)


def single(folder, part="a", **options):
    return AdaptedModel.from_adapterhub(base(folder), [folder / part], **options).double()


def fused(folder, parts=NAMES, *, fusion="fusion", head="head", **values):
    """The recorded fusion, in float64."""
    head = None if head is None else folder / head
    places = [folder / name for name in parts]
    model = AdaptedModel.from_adapterhub(base(folder, **values), places, fusion=folder / fusion, head=head)
    return model.double()


def logits(model, family="bert", **options):
    """What a model says of the recorded batch, in float64."""
    batch = {k: v.double() if v.is_floating_point() else v for k, v in golden.inputs(family).items()}
    with torch.no_grad():
        return model.double()(**batch, **options).logits


def assert_logits(model, family, case, run, **options):
    """The model's logits are those that the library computed."""
    wanted = golden.expected(family, case)[f"{run}/logits"]
    torch.testing.assert_close(logits(model, family, **options), wanted, **EXACT)


def their_key(ours):
    """`ffn.0.query.weight` of a fusion over a, b and c, as that library calls it."""
    _, layer, part = ours.split(".", 2)
    return f"bert.encoder.layer.{layer}.output.adapter_fusion_layer.{FUSED}.{part}"


def edit_json(path, **values):
    """Sets fields of a JSON file; None takes one out."""
    content = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def edit_config(path, **values):
    """Sets fields of the `config` in a JSON file."""
    edit_json(path, config=json.loads(path.read_text())["config"] | values)


def drop_config(path, key):
    """Takes a field of the `config` out."""
    config = json.loads(path.read_text())["config"]
    edit_json(path, config={name: value for name, value in config.items() if name != key})


def edit_tensors(path, change):
    """Rewrites a safetensors file; `change` gets its tensors and returns others."""
    save_file({key: value.clone().contiguous() for key, value in change(load_file(path)).items()}, path)


def rename_tensors(path, former, later):
    edit_tensors(path, lambda held: {key.replace(former, later): value for key, value in held.items()})


def add_tokenizer(folder):
    """A tokenizer for the recorded backbone's forty tokens, beside its weights: w5 to w39 are its words."""
    special = {"[UNK]": 0, "[PAD]": 1, "[CLS]": 2, "[SEP]": 3}
    words = special | {f"w{number}": number for number in range(len(special), 40)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    ends = [(name, special[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder / "base")
    return folder
