"""`--help`: written from the installed configs, without importing Hydra or anything heavy."""

from __future__ import annotations

import textwrap
from typing import Any

from fusion_pipeline.cli.compose import stage_lines
from fusion_pipeline.registry import config_dir, groups, load_yaml, options

_INTRO = """\
Train adapters on a frozen encoder, fuse them, and see whether it helped.

  fusion-pipeline stage=STAGE [key=value ...]          or: python -m fusion_pipeline ...

Stages
{stages}

Examples
  fusion-pipeline stage=adapters task=sentiment
  fusion-pipeline stage=adapters task=reviews.csv columns.text=body columns.label=stars
  fusion-pipeline stage=fusion adapters=[sentiment,nli,paraphrase] target=review_check
  fusion-pipeline stage=fusion adapters=[snli,mnli,qqp] target=rte data=local data.root=$FUSION_DATA
  fusion-pipeline stage=evaluate run=outputs/fusion/rte
  fusion-pipeline stage=predict run=outputs/fusion/rte text="I don't like it, really (no)?"
  fusion-pipeline -m stage=fusion adapters=[sentiment,nli] target=review_check fusion.dropout=0,0.1 seed=0,1,2
  fusion-pipeline stage=adapters task=sentiment trainer.learning_rate=3e-4 dry_run=true
  fusion-pipeline stage=merge adapters=[sst2,imdb] method=ties density=0.3

Groups (group=option, and group.key=value for what is inside)
{groups}

Values
{values}
  trainer.FIELD=...  any field of TrainingArguments

Tasks that have a yaml (any folder with a dataset.json and any csv, tsv, jsonl or parquet file is a task too)
{tasks}

Flags
  -m           one run for each combination of values with commas; names of artefacts end with what varies
  --cfg job    print the config that a command line composes, run nothing
  --config-dir DIR   a folder of your own groups and options
  --info       where Hydra found what    --version    --hydra-help
"""
_HIDDEN = ("stage", "task", "task_type", "sites")


def text() -> str:
    """The whole help."""
    return _INTRO.format(stages=stage_lines("  "), groups=_groups(), values=_values(), tasks=_tasks())


def _groups() -> str:
    defaults = _defaults()
    names = [group for group in groups() if group not in _HIDDEN]
    width = max((len(group) for group in names), default=0)
    lines = []
    for group in names:
        marked = [f"{name} (default)" if name == defaults.get(group) else name for name in options(group)]
        lines.append(f"  {group:{width}}  {', '.join(marked)}")
    return "\n".join(lines)


def _tasks() -> str:
    listed = ", ".join(options("task"))
    return textwrap.fill(listed, width=100, initial_indent="  ", subsequent_indent="  ")


def _defaults() -> dict[str, Any]:
    import yaml

    content = yaml.safe_load((config_dir() / "config.yaml").read_text(encoding="utf-8"))
    pairs = [item for item in content["defaults"] if isinstance(item, dict)]
    return {group: option for pair in pairs for group, option in pair.items()}


def _values() -> str:
    root = load_yaml(config_dir() / "config.yaml", resolve=False)
    lines = []
    for key, value in root.items():
        if key == "hydra":
            continue
        inside = [f"{key}.{name}" for name in value] if isinstance(value, dict) else [_shown(key, value)]
        lines.append("  " + " ".join(inside))
    return "\n".join(lines)


def _shown(key: str, value: Any) -> str:
    return f"{key}=" if value is None else f"{key}={str(value).lower() if isinstance(value, bool) else value}"
