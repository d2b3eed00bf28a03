"""How far stated probabilities are from the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

BINS = 15


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The expected calibration error Σ_b n_b / n · |accuracy_b − confidence_b| (Guo et al. 2017).

    Confidence is the greatest probability of a row; the 15 bins b are equally wide; NaN where a probability is none.
    Shapes: (n, C), (n,).
    """
    import numpy as np

    confidence = probabilities.max(-1)
    if not np.isfinite(confidence).all():
        return float("nan")
    right = probabilities.argmax(-1) == labels
    # Upper edges belong to their bin, so that a confidence of 1 is in the last.
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))
