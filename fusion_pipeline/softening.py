"""How far a student's answers are from a teacher's, softened by a temperature."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_NOTHING = -1e4  # e to the power of it is 0, and differences of it stay finite


def softened(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """T² · KL(softmax(teacher / T) ‖ softmax(student / T)) over the last dimension: (…, C) twice → (…)."""
    theirs = F.log_softmax(teacher.float() / temperature, dim=-1)
    ours = F.log_softmax(student.float() / temperature, dim=-1)
    return temperature**2 * F.kl_div(ours, theirs, log_target=True, reduction="none").sum(-1)


def softened_bits(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """The same for one sigmoid each: T² · KL of each pair of Bernoulli distributions. Shapes: (…) twice → (…)."""
    theirs, ours = teacher.float() / temperature, student.float() / temperature
    share = theirs.sigmoid()
    yes = share * (F.logsigmoid(theirs) - F.logsigmoid(ours))
    return temperature**2 * (yes + (1 - share) * (F.logsigmoid(-theirs) - F.logsigmoid(-ours)))


def like(flat: Tensor, logits: Tensor) -> Tensor:
    """A teacher's logits, flat as an evaluation leaves them (B, W), in the student's shape (B, …).

    Both count their dimensions from the left, so only the padding at the end differs.
    """
    size = logits[0].numel()
    return F.pad(flat, (0, max(0, size - flat.shape[1])))[:, :size].reshape(logits.shape).to(logits)


def without_absent(teacher: Tensor, student: Tensor) -> tuple[Tensor, Tensor]:
    """Both with nothing where the student has no choice or token: its logit there is the least number there is."""
    absent = student <= torch.finfo(student.dtype).min / 2
    return teacher.masked_fill(absent, _NOTHING), student.masked_fill(absent, _NOTHING)
