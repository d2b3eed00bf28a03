"""The scores, one plain function each: to add a metric, add a function here and its name in `task_types.py`.

Arguments are class numbers (classification) or numbers (regression), one per row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def accuracy(predictions: Any, references: Any) -> float:
    """Share of rows that are right."""
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(references, predictions))


def f1(predictions: Any, references: Any) -> float:
    """F1 of class 1, the positive one of two."""
    from sklearn.metrics import f1_score

    return float(f1_score(references, predictions, pos_label=1, average="binary", zero_division=0))


def f1_macro(predictions: Any, references: Any) -> float:
    """Mean over classes of their F1."""
    from sklearn.metrics import f1_score

    return float(f1_score(references, predictions, average="macro", zero_division=0))


def matthews(predictions: Any, references: Any) -> float:
    """Matthews' correlation coefficient."""
    from sklearn.metrics import matthews_corrcoef

    if _constant(predictions) or _constant(references):
        return 0.0
    return float(matthews_corrcoef(references, predictions))


def pearson(predictions: Any, references: Any) -> float:
    """Pearson's correlation."""
    from scipy.stats import pearsonr

    return _correlation(pearsonr, predictions, references)


def spearman(predictions: Any, references: Any) -> float:
    """Spearman's rank correlation."""
    from scipy.stats import spearmanr

    return _correlation(spearmanr, predictions, references)


def _correlation(function: Callable[[Any, Any], Any], predictions: Any, references: Any) -> float:
    if _constant(predictions) or _constant(references):
        return 0.0
    return float(function(references, predictions).statistic)


def _constant(values: Any) -> bool:
    # A constant has no correlation (0/0). An untrained head may well predict one, and NaN would then lose
    # every comparison in best-model selection without a word; 0 says what it is worth.
    return len(set(values)) < 2
