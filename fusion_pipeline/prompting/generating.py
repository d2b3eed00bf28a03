"""What one contender says to every prompt: the same draws for all, whatever the batches are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedModel

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.prompting.base import Base
from fusion_pipeline.prompting.questions import Prompt
from fusion_pipeline.prompting.spec import GenerationSpec


@dataclass(frozen=True, kw_only=True)
class Said:
    """One answer: its tokens without the prompt and special ends, and its text."""

    tokens: tuple[int, ...]
    text: str


def encode(base: Base, prompts: Sequence[Prompt], spec: GenerationSpec) -> list[list[int]]:
    """Each prompt's tokens, as the tokenizer opens a text, or as a user's turn (`chat`).

    Raises `PipelineError` for a prompt that leaves no room for an answer, and for `chat` without a template.
    """
    found = [_tokens(base, prompt.text, spec) for prompt in prompts]
    for prompt, ids in zip(prompts, found, strict=True):
        room = None if base.positions is None else base.positions - spec.max_new_tokens
        if not ids or (room is not None and len(ids) > room):
            what = (
                "has no tokens" if not ids else f"has {len(ids)} tokens, and {room} leave room for the answer"
            )
            hint = "a shorter prompt, or a smaller generation.max_new_tokens"
            raise PipelineError(f"the prompt '{prompt.name}' {what}", where="prompts", hint=hint)
    return found


@torch.no_grad()
def generate(base: Base, prompts: Sequence[list[int]], spec: GenerationSpec, seed: int) -> list[Said]:
    """What the model, with whatever adapter is on it, writes after each prompt.

    Greedy, or drawn by inverse transform: prompt i's step t takes the token at which the cumulative probability
    of the kept ones, likeliest first, passes u(seed, i, t). u does not depend on contender or batch.
    """
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    found: dict[int, Said] = {}
    for start in range(0, len(order), spec.batch_size):
        rows = order[start : start + spec.batch_size]
        for index, said in zip(rows, _batch(base, [prompts[i] for i in rows], rows, spec, seed), strict=True):
            found[index] = said
    return [found[index] for index in range(len(prompts))]


def _tokens(base: Base, text: str, spec: GenerationSpec) -> list[int]:
    if not spec.chat:
        return list(base.tokenizer(text)["input_ids"])
    if not base.tokenizer.chat_template:
        raise PipelineError(
            "the base's tokenizer has no chat template", where="generation.chat", hint="generation.chat=false"
        )
    turn = [{"role": "user", "content": text}]
    written = base.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    # The template writes the special tokens itself.
    return list(base.tokenizer(written, add_special_tokens=False)["input_ids"])


def _batch(
    base: Base, prompts: Sequence[list[int]], rows: Sequence[int], spec: GenerationSpec, seed: int
) -> list[Said]:
    longest, device = max(map(len, prompts)), next(base.model.parameters()).device
    pad, ends = _pad(base), _ends(base)
    # Padding stands on the left: the next token follows the last real one in every row.
    ids = torch.tensor([[pad] * (longest - len(p)) + p for p in prompts], device=device)
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device)
    draws = LogitsProcessorList([Drawn(spec, seed, rows)] if spec.temperature > 0 else [])
    with _own_settings_only(base.model):
        out = base.model.generate(
            input_ids=ids,
            attention_mask=mask,
            logits_processor=draws,
            generation_config=GenerationConfig(
                max_new_tokens=spec.max_new_tokens,
                do_sample=False,
                pad_token_id=pad,
                eos_token_id=sorted(ends) or None,
            ),
        )
    return [_said(base, row[longest:].tolist(), ends) for row in out]


def _said(base: Base, tokens: list[int], ends: frozenset[int]) -> Said:
    length = next((place for place, token in enumerate(tokens) if token in ends), len(tokens))
    kept = tokens[:length]
    return Said(tokens=tuple(kept), text=base.tokenizer.decode(kept, skip_special_tokens=True))


def _ends(base: Base) -> frozenset[int]:
    """The tokens that end an answer: the model's own, or the tokenizer's."""
    own = base.model.generation_config.eos_token_id
    own = base.tokenizer.eos_token_id if own is None else own
    return frozenset() if own is None else frozenset([own] if isinstance(own, int) else own)


def _pad(base: Base) -> int:
    found = base.tokenizer.pad_token_id
    return int(found) if found is not None else min(_ends(base), default=0)


@contextmanager
def _own_settings_only(model: PreTrainedModel) -> Iterator[None]:
    """A model's saved generation settings (penalties, temperatures) would be mixed into ours."""
    saved, model.generation_config = model.generation_config, GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = saved


class Drawn(LogitsProcessor):
    """Leaves one token of each row, drawn with the row's own numbers; taking the best is then drawing."""

    def __init__(self, spec: GenerationSpec, seed: int, rows: Sequence[int]) -> None:
        self.spec = spec
        self.numbers = torch.stack([_uniform(seed, row, spec.max_new_tokens) for row in rows])
        self.step = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (B, V) with all but the drawn token at −∞."""
        picked = draw(scores, self.numbers[:, self.step], self.spec.temperature, self.spec.top_p)
        self.step += 1
        return torch.full_like(scores, -torch.inf).scatter(1, picked.unsqueeze(1), 0.0)


def draw(scores_BV: Tensor, numbers_B: Tensor, temperature: float, top_p: float) -> Tensor:
    """One token a row (B,): the first whose cumulative probability passes u times that of the kept ones.

    p = softmax(scores / temperature), in float64; kept are the likeliest tokens until their sum reaches `top_p`.
    """
    chances, tokens = torch.softmax(scores_BV.double() / temperature, dim=-1).sort(
        descending=True, stable=True
    )
    # Those before which the sum has not reached top_p yet; the likeliest always stays.
    kept = chances * ((chances.cumsum(-1) - chances) < top_p)
    total = kept.cumsum(-1)
    aim = numbers_B.to(total).unsqueeze(1) * total[:, -1:]
    place = (total <= aim).sum(-1, keepdim=True).clamp(max=scores_BV.shape[1] - 1)
    return tokens.gather(1, place).squeeze(1)


def _uniform(seed: int, row: int, count: int) -> Tensor:
    number = int.from_bytes(hashlib.sha256(f"{seed}|{row}".encode()).digest()[:8], "little", signed=True)
    return torch.rand(count, generator=torch.Generator().manual_seed(number), dtype=torch.float64)
