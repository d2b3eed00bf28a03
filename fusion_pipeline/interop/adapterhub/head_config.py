"""`head_config.json` ↔ our heads: flexible heads (`heads.NAME.1.weight`) and the static ones of a model class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.heads import HeadSpec
from fusion_pipeline.interop.adapterhub.adapter_config import ACTIVATIONS
from fusion_pipeline.interop.problems import Problems

if TYPE_CHECKING:
    from fusion_pipeline.interop.adapterhub.files import Saved

_FLEXIBLE = {
    "classification": "classification",
    "image_classification": "classification",
    "tagging": "tokens",
}
_STATIC = {
    "ForSequenceClassification": "classification",
    "ForImageClassification": "classification",
    "ForTokenClassification": "tokens",
}
_FIELDS = {
    "activation_function",
    "bias",
    "dropout_prob",
    "head_type",
    "label2id",
    "layers",
    "multilabel",
    "num_labels",
    "use_pooler",
}


@dataclass(frozen=True, kw_only=True)
class HeadPlan:
    """A head's settings and where its two linears lie: in the file (`dense`, `out`) or in the base (`base_dense`)."""

    spec: HeadSpec
    out: str
    dense: str | None = None
    base_dense: str | None = None

    @property
    def keys(self) -> dict[str, str]:
        """{our key: their key} of the weights in the file."""
        parts = {"out.weight": f"{self.out}.weight"}
        if self.spec.bias:
            parts["out.bias"] = f"{self.out}.bias"
        if self.dense is not None:
            parts |= {"dense.weight": f"{self.dense}.weight", "dense.bias": f"{self.dense}.bias"}
        return parts


def read_head(saved: Saved, static: dict[str, Any] | None, *, hidden_dropout: float) -> HeadPlan:
    """Our settings of a saved head; `static` is the family's own head from its site table."""
    config = saved.config.get("config")
    if config is None:
        return _static(saved, static, hidden_dropout)
    return _flexible(saved, config, static, hidden_dropout)


def _flexible(
    saved: Saved, config: dict[str, Any], static: dict[str, Any] | None, hidden_dropout: float
) -> HeadPlan:
    problems = Problems("this head cannot be carried over", str(saved.folder))
    kind, layers = config.get("head_type"), config.get("layers", 1)
    if kind not in _FLEXIBLE:
        problems.add(f"head_type={kind}: only {', '.join(_FLEXIBLE)} are supported")
    for key in sorted(config.keys() - _FIELDS):
        problems.add(f"{key}: unknown field")
    if layers not in (1, 2) or (config.get("use_pooler") and layers != 1):
        problems.add(
            f"layers={layers}, use_pooler={config.get('use_pooler')}: at most two layers are supported"
        )
    if config.get("multilabel"):
        problems.add("multilabel=true: several labels at once are not supported")
    problems.refuse()
    pooler, function = bool(config.get("use_pooler")), config.get("activation_function", "tanh")
    # Dropout and linear come in pairs; an activation takes a number of its own.
    stem, last = f"heads.{saved.name}", 1 if layers == 1 else 3 if function is None else 4
    activation = "tanh" if pooler else str(function or "identity").lower()
    dropout = config.get("dropout_prob")
    spec = _spec(
        saved,
        _FLEXIBLE[str(kind)],
        config.get("label2id"),
        int(config["num_labels"]),
        layers=2 if pooler else layers,
        activation=ACTIVATIONS.get(activation, activation),
        dropout=hidden_dropout if dropout is None else float(dropout),
        bias=bool(config.get("bias", True)),
    )
    return HeadPlan(
        spec=spec,
        out=f"{stem}.{last}",
        dense=f"{stem}.1" if layers == 2 else None,
        base_dense=str((static or {}).get("base_dense", "pooler.dense")) if pooler else None,
    )


def _static(saved: Saved, static: dict[str, Any] | None, hidden_dropout: float) -> HeadPlan:
    cls = str(saved.config.get("model_class", ""))
    kind = next((kind for suffix, kind in _STATIC.items() if cls.endswith(suffix)), None)
    if kind is None or (kind == "classification" and static is None):
        raise PipelineError(
            f"the head of {cls or 'an unknown class'} cannot be carried over",
            where=str(saved.folder),
            hint=f"heads of {', '.join(_STATIC)} and flexible heads can",
        )
    facts = {"out": "classifier"} if kind == "tokens" else dict(static or {})
    labels = saved.config.get("label2id")
    spec = _spec(
        saved,
        kind,
        labels,
        int(saved.config.get("num_labels") or len(labels or ())),
        layers=2 if "dense" in facts or "base_dense" in facts else 1,
        activation=str(facts.get("activation", "tanh")),
        dropout=hidden_dropout,
        bias=bool(facts.get("bias", True)),
    )
    return HeadPlan(
        spec=spec, out=str(facts["out"]), dense=facts.get("dense"), base_dense=facts.get("base_dense")
    )


def _spec(saved: Saved, kind: str, label2id: Any, outputs: int, **values: Any) -> HeadSpec:
    if kind == "classification" and outputs == 1:
        return HeadSpec(type="regression", **values)
    labels = _labels(label2id, outputs, str(saved.folder))
    return HeadSpec(type=kind, labels=labels, **values)


def _labels(label2id: Any, outputs: int, where: str) -> tuple[str, ...]:
    if not label2id:
        return tuple(f"LABEL_{i}" for i in range(outputs))
    named = {int(number): str(name) for name, number in dict(label2id).items()}
    if sorted(named) != list(range(outputs)):
        raise PipelineError(
            f"label2id names the classes {sorted(named)}, and the head has {outputs}", where=where
        )
    return tuple(named[i] for i in range(outputs))


def write_head(spec: HeadSpec, *, images: bool) -> dict[str, Any]:
    """The flexible head's config that computes the same there; models of `images` have a kind of their own."""
    labels = spec.labels or ("LABEL_0",)
    if spec.type == "tokens" and spec.layers != 1:
        raise PipelineError("AdapterHub's tagging heads have one layer here", where="run")
    shared = {
        "activation_function": {"gelu_tanh": "gelu_new"}.get(spec.activation, spec.activation),
        "dropout_prob": spec.dropout,
        "head_type": "tagging" if spec.type == "tokens" else "classification",
        "label2id": {name: number for number, name in enumerate(labels)},
        "layers": spec.layers,
        "num_labels": spec.outputs,
    }
    if spec.type == "tokens":
        return shared
    own = {"head_type": "image_classification", "multilabel": False} if images else {}
    return {**shared, "bias": spec.bias, "use_pooler": False, **own}
