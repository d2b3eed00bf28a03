"""`adapter_fusion_config.json` ↔ our AdapterFusion settings."""

from __future__ import annotations

from typing import Any

from fusion_pipeline import registry
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.fusion import AdapterFusionSpec
from fusion_pipeline.interop.problems import Problems

# That library's annealed temperature starts here and is in no file.
START_TEMPERATURE = 50.0
_FIELDS = {
    "key",
    "query",
    "value",
    "query_before_ln",
    "regularization",
    "residual_before",
    "temperature",
    "value_before_softmax",  # before or after the softmax: the same function
    "value_initialized",
    "dropout_prob",
}
_PENALTY = 0.01


def read_config(
    content: dict[str, Any], where: str, *, attention_dropout: float, parallel: bool
) -> tuple[AdapterFusionSpec, list[str]]:
    """Our settings of a fusion config and what a person should know about them.

    `attention_dropout` is the backbone's, which stands in for a missing `dropout_prob`; over `parallel`
    adapters the fusion was trained with the residual added twice.
    """
    config = content.get("config")
    problems = Problems("this fusion cannot be carried over", where)
    if not isinstance(config, dict):
        problems.add("config: it holds no fusion settings")
        problems.refuse()
    assert isinstance(config, dict)
    for key in sorted(config.keys() - _FIELDS):
        problems.add(f"{key}: unknown field")
    for key in ("key", "query"):
        if not config.get(key, True):
            problems.add(f"{key}={config[key]}: a fusion without a {key} matrix is not supported")
    problems.refuse()
    dropout = config.get("dropout_prob")
    spec: AdapterFusionSpec = registry.build(
        "fusion",
        "adapterfusion",
        value=bool(config.get("value", True)),
        regularization=_PENALTY if config.get("regularization", True) else 0.0,
        dropout=attention_dropout if dropout is None else float(dropout),
        temperature=_temperature(config.get("temperature")),
        query_before_norm=bool(config.get("query_before_ln")),
        residual_before=bool(config.get("residual_before")),
        doubled_residual=parallel,
    )
    return spec, _notes(config, parallel)


def _temperature(said: Any) -> float:
    """The value, for files that a person has completed; that library itself writes true or false."""
    if isinstance(said, bool) or said is None:
        return START_TEMPERATURE if said else 1.0
    return float(said)


def _notes(config: dict[str, Any], parallel: bool) -> list[str]:
    notes = []
    if config.get("temperature") is True:
        notes.append(
            f"the temperature is {START_TEMPERATURE:g}: `adapters` lowers it in every forward, evaluation "
            "included, and keeps it in no file; where you know the last value, write it into "
            "adapter_fusion_config.json in place of true"
        )
    if parallel:
        notes.append("a fusion of parallel adapters from `adapters`: the residual is added twice, as there")
    return notes


def write_config(spec: AdapterFusionSpec, *, parallel: bool) -> dict[str, Any]:
    """The fusion config that computes the same there; a temperature goes into the query's weights."""
    if spec.heads > 1:
        raise PipelineError(
            f"AdapterHub's AdapterFusion has one head, and this one has {spec.heads}",
            where="run",
            hint="train it with fusion.heads=1, or export its adapters one by one",
        )
    if spec.doubled_residual != parallel:
        raise PipelineError(
            "`adapters` adds the residual twice over parallel adapters, and nowhere else: "
            "there this fusion would compute something else",
            where="run",
            hint="export its adapters one by one, or fuse adapters of the placement pfeiffer or houlsby",
        )
    return {
        "key": True,
        "query": True,
        "value": spec.value,
        "query_before_ln": spec.query_before_norm,
        "regularization": spec.regularization > 0,
        "residual_before": spec.residual_before,
        "temperature": False,
        "value_before_softmax": True,
        "value_initialized": True,
        "dropout_prob": spec.dropout,
    }
