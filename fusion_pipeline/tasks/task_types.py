"""The task types there are, and those that are known but not supported yet."""

from __future__ import annotations

from fusion_pipeline.errors import PipelineError, did_you_mean

CLASSIFICATION, REGRESSION = "classification", "regression"
PAIR_TYPES = {"pair_classification": CLASSIFICATION, "pair_regression": REGRESSION}
NOT_YET = (
    "rating_prediction",
    "ranking",
    "generation",
    "summarization",
    "translation",
    "image_classification",
    "segmentation",
    "audio_classification",
)


def check_type(word: object, where: str) -> str:
    """The name of a type there is; any other word is an error that says which kind it is."""
    from fusion_pipeline.tasks.types import type_names

    if word in type_names():
        return str(word)
    if isinstance(word, str) and word in NOT_YET:
        raise PipelineError(
            f"tasks of type '{word}' are not supported yet",
            where=where,
            hint=f"these work today: {', '.join(type_names())}",
        )
    raise PipelineError(
        f"unknown task type {word!r}", where=where, hint=did_you_mean(str(word), (*type_names(), *PAIR_TYPES))
    )


def split_type(word: object, where: str) -> tuple[str, bool]:
    """The type behind a data set's own word for it, and whether the word demands a pair of texts."""
    if isinstance(word, str) and word in PAIR_TYPES:
        return PAIR_TYPES[word], True
    return check_type(word, where), False


def metric_names() -> tuple[str, ...]:
    """The metrics of all types."""
    from fusion_pipeline.tasks.types import task_type, type_names

    return tuple(dict.fromkeys(metric for name in type_names() for metric in task_type(name).metrics))


def metric_name(metric: str, average: str | None, class_count: int | None) -> str:
    """Our name of a metric: F1 is class 1's where there are two, and the mean over more."""
    if metric != "f1":
        return metric
    if average in (None, "binary"):
        return "f1" if average == "binary" or class_count == 2 else "f1_macro"
    return f"f1_{average}"
