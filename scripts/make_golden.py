"""Records what AdapterHub's `adapters` 1.3.0 computes and saves, into tests/golden/adapterhub/.

Run it with an interpreter of its own, never the project's: that library needs transformers 4.

    python3.11 -m venv /tmp/peer && /tmp/peer/bin/pip install \
        adapters==1.3.0 transformers==4.57.6 torch==2.13.0 safetensors==0.8.0 accelerate==1.12.0
    /tmp/peer/bin/python scripts/make_golden.py

Every family is a tiny random model; a parameter's values follow from its name alone, so two runs write the
same bytes. tests/golden.py reads the files and describes their layout. Files are float32 as the library saves
them; the expected outputs are those of the same model in float64, in evaluation mode. `trainer.*` is a short
training run of bert's seq_bn, in float64 too.
"""

from __future__ import annotations

import json
import tempfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import adapters
import torch
import transformers
from adapters.composition import Fuse
from adapters.configuration import AdapterConfig, AdapterFusionConfig
from adapters.methods.bottleneck import BottleneckLayer
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, TrainingArguments
from transformers import AutoModelForImageClassification as ImageModel
from transformers import AutoModelForSequenceClassification as TextModel

OUT = Path(__file__).parents[1] / "tests/golden/adapterhub"
NAMES = ("a", "b", "c")
PAD = 1
FLEXIBLE = "bert-flex"
FUSED = Fuse(*NAMES)
Tensors = dict[str, torch.Tensor]
VERSIONS = {module.__name__: module.__version__ for module in (adapters, transformers, torch)}
RUNS: dict[str, tuple[Any, dict[str, str]]] = {"single": ("a", {}), "fuse": (FUSED, {})}
HEAD_RUNS: dict[str, tuple[Any, dict[str, str]]] = {
    "single": ("a", {"head": "a"}),
    "fuse.target": (FUSED, {"head": "target"}),
    "fuse.tags": (FUSED, {"head": "tags"}),
}

COMMON = {"vocab_size": 40, "num_labels": 3, "pad_token_id": PAD}
BERT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
POSITIONS = {"max_position_embeddings": 16}
IMAGE = {"image_size": 12, "patch_size": 6, "num_labels": 3}
DEBERTA = {"relative_attention": True, "position_buckets": 4, "pos_att_type": ["p2c", "c2p"]}
DEBERTA |= {"norm_rel_ebd": "layer_norm", "share_att_key": True, "type_vocab_size": 0}
DISTILBERT = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
GPT2 = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_inner": 32, "n_positions": 16}
GPT2 |= {"bos_token_id": 0, "eos_token_id": 0}
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": COMMON | BERT | POSITIONS,
    FLEXIBLE: COMMON | BERT | POSITIONS,
    "roberta": COMMON | BERT | POSITIONS,
    "distilbert": COMMON | DISTILBERT | POSITIONS,
    "vit": BERT | IMAGE,
    "xlm-roberta": COMMON | BERT | POSITIONS,
    "electra": COMMON | BERT | POSITIONS | {"embedding_size": 8},
    "albert": COMMON | BERT | POSITIONS | {"embedding_size": 8, "num_hidden_layers": 3},
    "deberta-v2": COMMON | BERT | POSITIONS | DEBERTA,
    "gpt2": COMMON | GPT2,
    "llama": COMMON | BERT | POSITIONS | {"num_key_value_heads": 1},
    "beit": BERT | IMAGE | {"use_relative_position_bias": True, "layer_scale_init_value": 0.1},
}
UNDROPPED = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
TRAINING: dict[str, Any] = {
    "max_steps": 6,
    "per_device_train_batch_size": 8,
    "learning_rate": 0.01,
    "lr_scheduler_type": "constant",
    "weight_decay": 0.1,
    "max_grad_norm": 1.0,
    "optim": "adamw_torch",
    "seed": 0,
}
PLACES = ("seq_bn", "double_seq_bn", "par_bn")
FUSIONS: dict[str, tuple[str, dict[str, bool]]] = {
    "dynamic": ("dynamic", {}),
    "static": ("static", {}),
    "value_after": ("dynamic", {"value_before_softmax": False}),
    "query_before_ln": ("dynamic", {"query_before_ln": True}),
    "residual_before": ("dynamic", {"residual_before": True}),
    "temperature": ("dynamic", {"temperature": True}),
}


def cases(family: str) -> dict[str, tuple[str, str]]:
    """(adapter config, fusion form) of every case; bert and vit are where the forms are told apart."""
    if family == FLEXIBLE:
        return {"setup": ("seq_bn", "dynamic")}
    listed = [(place, "dynamic") for place in PLACES]
    if family in ("bert", "vit"):
        listed += [("seq_bn", form) for form in list(FUSIONS)[1:]]
    if family == "bert":
        listed += [(place, form) for place in PLACES[1:] for form in ("query_before_ln", "residual_before")]
    return {place if form == "dynamic" else f"{place}-{form}": (place, form) for place, form in listed}


def spread(name: str, shape: torch.Size) -> torch.Tensor:
    """Random values for the parameter `name`; norms and layer scales lie around one.

    Queries and keys are small enough that the fusion's softmax is neither flat nor one-hot.
    """
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if "lambda" in name or (name.endswith("weight") and len(shape) == 1):
        return 1 + 0.2 * noise
    if "fusion" in name:
        return (0.5 if "value" in name else 0.15) * noise
    return 0.3 * noise


def randomised(model: Any) -> Any:
    """The model with every parameter replaced, in evaluation mode."""
    for name, parameter in model.named_parameters():
        parameter.data = spread(name, parameter.shape)
    return model.eval()


def backbone(family: str, **settings: Any) -> Any:
    """A stock classification model, or BERT with heads that bear names."""
    images = "image_size" in CONFIGS[family]
    config = AutoConfig.for_model(
        family.removesuffix("-flex"), **CONFIGS[family] | settings, attn_implementation="eager"
    )
    if family != FLEXIBLE:
        return randomised((ImageModel if images else TextModel).from_config(config))
    model = adapters.BertAdapterModel(config)
    for name in NAMES:
        model.add_classification_head(name, num_labels=3, layers=2)
    model.add_classification_head("target", num_labels=3, layers=1)
    model.add_tagging_head("tags", num_labels=4)
    return model


def adapted(family: str, place: str, form: str, **settings: Any) -> Any:
    """The model with the adapters and their fusion; `settings` of the backbone's config."""
    model = backbone(family, **settings)
    adapters.init(model)
    for name in NAMES:
        model.add_adapter(name, AdapterConfig.load(place, reduction_factor=4))
    base, options = FUSIONS[form]
    model.add_adapter_fusion(list(NAMES), AdapterFusionConfig.load(base, **options))
    return randomised(model)


def batch(family: str) -> Tensors:
    """Three images, or three rows of tokens of which two end in padding."""
    generator = torch.Generator().manual_seed(7)
    if "image_size" in CONFIGS[family]:
        return {"pixel_values": torch.randn(3, 3, 12, 12, generator=generator)}
    ids = torch.randint(5, 40, (3, 7), generator=generator)
    mask = torch.arange(7) < torch.tensor([[7], [5], [3]])
    return {"input_ids": ids.masked_fill(~mask, PAD), "attention_mask": mask.long()}


def saved(save: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[dict[str, Any], Tensors]:
    """The JSON object and the tensors that `save` writes into a folder."""
    with tempfile.TemporaryDirectory() as folder:
        save(folder, *arguments, **options)
        (config,), weights = Path(folder).glob("*.json"), list(Path(folder).glob("*.safetensors"))
        return json.loads(config.read_text()), load_file(weights[0]) if weights else {}


def parts(model: Any) -> dict[str, tuple[dict[str, Any], Tensors]]:
    """What the library saves of a model, by part."""
    safe = {"use_safetensors": True}
    found = {name: saved(model.save_adapter, name, with_head=False, **safe) for name in NAMES}
    found["fusion"] = saved(model.save_adapter_fusion, list(NAMES), **safe)
    if not hasattr(model, "heads"):
        return found | {"head": saved(model.save_head, **safe)}
    found |= {f"head.{name}": saved(model.save_head, name, **safe) for name in model.heads}
    return found | {"adapter_setup": saved(model.save_adapter_setup, FUSED, head_setup=["target", "tags"])}


def hooks(model: Any, seen: Tensors) -> Iterator[Any]:
    """Notes the last hidden state and each fusion's weights; the n-th call of a site is its layer (or pass) n."""

    def weights(site: str, module: Any, arguments: Any, output: Any) -> None:
        layer = sum(key.endswith(f"/{site}") for key in seen)
        seen[f"weights/{layer}/{site}"] = torch.from_numpy(output[1])

    yield model.base_model.register_forward_hook(lambda *call: seen.update(last_hidden_state=call[2][0]))
    for layer in (module for module in model.modules() if isinstance(module, BottleneckLayer)):
        site = "attention" if layer.location_key == "mh_adapter" else "output"
        for fusion in layer.adapter_fusion_layer.values():
            if fusion.config["temperature"]:
                fusion.T, fusion.reduction = 50.0, 0.0
            yield fusion.register_forward_hook(partial(weights, site))


@torch.no_grad()
def outputs(model: Any, inputs: Tensors, setup: Any, **options: Any) -> Tensors:
    """Logits, hidden states that differ from the last one, and fusion weights, with `setup` active."""
    seen: Tensors = {}
    model.set_active_adapters(setup)
    handles = list(hooks(model, seen))
    options |= {"output_hidden_states": True, "output_adapter_fusion_attentions": setup is FUSED}
    out = model(**inputs, **options)
    for handle in handles:
        handle.remove()
    for i, hidden in enumerate(out.hidden_states):
        if i and not torch.equal(hidden, seen["last_hidden_state"]):
            seen[f"hidden_states.{i}"] = hidden
    return {"logits": out.logits, **seen}


def gradients(model: Any, inputs: Tensors) -> Tensors:
    """The fusion's penalty, and its gradients of the cross-entropy."""
    model.train_adapter_fusion(FUSED)
    penalty = model.get_fusion_regularization_loss().detach()
    model.eval()(**inputs, labels=torch.tensor([0, 1, 2])).loss.backward()
    grads = {f"grads/{k}": p.grad for k, p in model.named_parameters() if "adapter_fusion_layer" in k}
    return grads | {"penalty": penalty}


def computed(family: str, case: str, model: Any) -> Tensors:
    """Everything expected of a case, in float64."""
    inputs = {k: v.double() if v.is_floating_point() else v for k, v in batch(family).items()}
    model.double()
    found: Tensors = {}
    for run, (setup, options) in (RUNS if family != FLEXIBLE else HEAD_RUNS).items():
        found |= {f"{run}/{key}": value for key, value in outputs(model, inputs, setup, **options).items()}
    return found | gradients(model, inputs) if (family, case) == ("bert", "seq_bn") else found


def record(family: str) -> tuple[dict[str, Any], Tensors]:
    """What goes into the two files of a family."""
    text: dict[str, Any] = {"versions": VERSIONS, "same": {}, "cases": {}}
    tensors: Tensors = {}
    if family != FLEXIBLE:
        text["base_config"], base = saved(backbone(family).save_pretrained)
        tensors = {f"base/{k}": v for k, v in base.items()} | {
            f"inputs/{k}": v for k, v in batch(family).items()
        }
    first: dict[Any, str] = {}
    for case, (place, form) in cases(family).items():
        model = adapted(family, place, form)
        for part, (config, held) in parts(model).items():
            text["cases"].setdefault(case, {})[part] = config
            prefix = f"{case}/{part}"
            twin = first.setdefault(tuple((k, v.numpy().tobytes()) for k, v in sorted(held.items())), prefix)
            if twin == prefix:
                tensors |= {f"{prefix}/{key}": value for key, value in held.items()}
            else:
                text["same"][prefix] = twin
        tensors |= {f"{case}/{key}": value for key, value in computed(family, case, model).items()}
    return text, tensors


class Recorder(adapters.AdapterTrainer):
    """That library's trainer, with its losses noted before they are averaged and rounded for the log."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.losses: list[torch.Tensor] = []

    def compute_loss(self, *arguments: Any, **options: Any) -> Any:
        """The loss of the step."""
        loss = super().compute_loss(*arguments, **options)
        self.losses.append(loss.detach())
        return loss


def record_training() -> tuple[dict[str, Any], Tensors]:
    """Six steps of that library's trainer from the weights of bert's seq_bn, on one batch and without dropout.

    `data/…` is the batch, `losses` the cross-entropy before each step, `final/…` the fusion and the head after
    the last one. The fusion's own dropout is 0 because the backbone's is: `dropout_prob=0.0` would not do.
    """
    model = adapted("bert", "seq_bn", "dynamic", **UNDROPPED).double()
    model.train_adapter_fusion(FUSED)
    generator = torch.Generator().manual_seed(11)
    ids = torch.randint(5, 40, (8, 7), generator=generator)
    mask = torch.arange(7) < torch.tensor([7, 6, 5, 4, 3, 7, 6, 5])[:, None]
    data = {"input_ids": ids.masked_fill(~mask, PAD), "attention_mask": mask.long()}
    data["labels"] = torch.arange(8) % 3
    rows = [{key: value[i] for key, value in data.items()} for i in range(8)]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(folder, **TRAINING, use_cpu=True, report_to=[], save_strategy="no")
        trainer = Recorder(model, arguments, train_dataset=rows)
        trainer.train()
    final = {k: p for k, p in model.named_parameters() if "adapter_fusion_layer" in k or "classifier" in k}
    tensors = {f"data/{k}": v for k, v in data.items()} | {"losses": torch.stack(trainer.losses)}
    return {"versions": VERSIONS, "trainer": TRAINING, "base_config": UNDROPPED}, tensors | {
        f"final/{k}": v.detach() for k, v in final.items()
    }


def write(name: str, text: dict[str, Any], tensors: Tensors) -> None:
    """Writes the two files of a recording."""
    (OUT / f"{name}.json").write_text(json.dumps(text, separators=(",", ":")) + "\n")
    save_file({key: value.contiguous() for key, value in tensors.items()}, OUT / f"{name}.safetensors")
    print(f"{name}: {len(tensors)} tensors, {(OUT / f'{name}.safetensors').stat().st_size} bytes")


def main() -> None:
    """Records all families and the training run."""
    OUT.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for family in CONFIGS:
        write(family, *record(family))
    write("trainer", *record_training())


if __name__ == "__main__":
    main()
