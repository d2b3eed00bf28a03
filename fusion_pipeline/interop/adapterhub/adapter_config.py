"""`adapter_config.json` ↔ our bottleneck settings. What this pipeline would compute otherwise is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusion_pipeline import registry
from fusion_pipeline.adapters import BottleneckSpec
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.interop.problems import Problems

# Fields of a bottleneck config that must have these values: each other value is another function.
# A file from before a field existed has its default.
_FIXED: dict[str, Any] = {
    "original_ln_after": True,
    "residual_before_ln": True,
    "ln_before": False,
    "ln_after": False,
    "adapter_residual_before_ln": False,
    "use_gating": False,
    "cross_adapter": False,
    "inv_adapter": None,
    "phm_layer": False,
    "stochastic_depth": 0.0,
}
# (mh_adapter, output_adapter, is_parallel, original_ln_before) of the three placements.
_PLACED = {
    "pfeiffer": (False, True, False, True),
    "houlsby": (True, True, False, False),
    "parallel": (False, True, True, False),
}
_PLACING = ("mh_adapter", "output_adapter", "is_parallel", "original_ln_before")
_READ = {
    *_PLACING,
    *_FIXED,
    "reduction_factor",
    "non_linearity",
    "scaling",
    "dropout",
    "leave_out",
    "init_weights",
}
# Fields that change nothing here: how weights were drawn, and parts of what is refused above.
_IDLE = {
    "architecture",
    "init_weights_seed",
    "inv_adapter_reduction_factor",
    "phm_dim",
    "phm_c_init",
    "phm_init_range",
    "phm_rank",
    "phm_bias",
    "factorized_phm_W",
    "factorized_phm_rule",
    "shared_W_phm",
    "shared_phm_rule",
    "learn_phm",
    "hypercomplex_nonlinearity",
}
ACTIVATIONS = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_python": "gelu",
    "gelu_python_tanh": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "leaky_relu": "leakyrelu",
    "linear": "identity",
}
# Files without a version, from before 2020's end, name the two forms differently.
_FORMER_ACTIVATIONS = {"gelu": "gelu_new", "gelu_orig": "gelu"}
_REQUIRED = ("mh_adapter", "output_adapter", "reduction_factor", "non_linearity")
_INITS = {"bert": "normal", "houlsby": "normal", "mam_adapter": "kaiming"}


def read_config(
    content: dict[str, Any], where: str, *, placements: Mapping[str, str] | None = None
) -> BottleneckSpec:
    """Our settings of a bottleneck config; every field that cannot be carried over is named.

    `placements` are the family's own names for where that library puts a placement, if they differ.
    """
    config = content.get("config")
    problems = Problems("this adapter cannot be carried over", where)
    if not isinstance(config, dict):
        problems.add(f"config={config!r}: it is no object with settings")
        problems.refuse()
    assert isinstance(config, dict)
    if config.get("architecture") is not None:
        problems.add(f"architecture={config['architecture']}: only bottleneck adapters are supported")
        problems.refuse()
    for key in _REQUIRED:
        if key not in config:
            problems.add(f"{key}: it is missing")
    for key in sorted(config.keys() - _READ - _IDLE):
        problems.add(f"{key}: unknown field")
    for key, value in _FIXED.items():
        if config.get(key, value) != value:
            problems.add(f"{key}={config[key]}: only {value} is supported")
    placement = _placement(config, problems)
    for key in ("reduction_factor", "scaling"):
        if isinstance(config.get(key, 1), bool) or not isinstance(config.get(key, 1), int | float):
            problems.add(f"{key}={config[key]}: only one number for all layers is supported")
    problems.refuse(hint="train it again without these settings; here they would be another function")
    if "version" not in content:
        config = config | {
            "non_linearity": _FORMER_ACTIVATIONS.get(config["non_linearity"], config["non_linearity"])
        }
    return _spec(config, placement, (placements or {}).get(placement, placement), problems)


def _placement(config: dict[str, Any], problems: Problems) -> str:
    given = tuple(bool(config.get(key, False)) for key in _PLACING)
    for name, wanted in _PLACED.items():
        if given == wanted:
            return name
    said = ", ".join(f"{key}={value}" for key, value in zip(_PLACING, given, strict=True))
    problems.add(f"{said}: none of the placements {', '.join(_PLACED)}")
    return "pfeiffer"


def _spec(config: dict[str, Any], kind: str, placement: str, problems: Problems) -> BottleneckSpec:
    activation = str(config.get("non_linearity", "relu")).lower()
    try:
        spec: BottleneckSpec = registry.build(
            "adapter",
            kind,
            placement=placement,
            reduction_factor=config["reduction_factor"],
            activation=ACTIVATIONS.get(activation, activation),
            scaling=float(config.get("scaling", 1.0)),
            dropout=float(config.get("dropout", 0.0)),
            skip_layers=list(config.get("leave_out") or ()),
            init=_INITS.get(str(config.get("init_weights", "bert")), "normal"),
        )
    except PipelineError as error:
        problems.add(error.what)
        problems.refuse()
        raise
    return spec


def write_config(spec: BottleneckSpec, width: int, hidden: int) -> dict[str, Any]:
    """The bottleneck config that computes the same there; `width` is the bottleneck of every layer."""
    return {
        **dict(zip(_PLACING, _PLACED[spec.kind], strict=True)),
        **_FIXED,
        "reduction_factor": _factor(spec, width, hidden),
        "non_linearity": {"gelu_tanh": "gelu_new", "identity": "linear"}.get(
            spec.activation, spec.activation
        ),
        "scaling": float(spec.scaling),
        "dropout": spec.dropout,
        "leave_out": list(spec.skip_layers),
        "init_weights": "mam_adapter" if spec.init == "kaiming" else "bert",
        "init_weights_seed": None,
        "inv_adapter_reduction_factor": None,
    }


def _factor(spec: BottleneckSpec, width: int, hidden: int) -> float:
    """A reduction factor from which that library computes this width: int(hidden // factor)."""
    for factor in (spec.reduction_factor, hidden / width, hidden / (width + 0.5)):
        if max(1, int(hidden // factor)) == width:
            return int(factor) if float(factor).is_integer() else factor
    raise PipelineError(f"no reduction factor gives the width {width}", where="adapter.width")
