"""Source: a dataset folder, described by its dataset.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.card import DatasetCard, read_card
from fusion_pipeline.tasks.raw import RawTask, override, wanted_columns
from fusion_pipeline.tasks.source_file import extra_tables
from fusion_pipeline.tasks.spec import SPLITS, ColumnsSpec
from fusion_pipeline.tasks.table import SUFFIXES, Table, read_table


@dataclass(frozen=True)
class FolderSource:
    """A dataset folder.

    Args:
        folder: The folder.
        task_name: The task's name where the person gave one; dataset.json names it otherwise.
        metric: Primary metric where dataset.json says none.
    """

    folder: Path
    task_name: str | None = None
    metric: str | None = None

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task_name or self.card.name

    @property
    def takes_columns(self) -> bool:
        """Whether columns.* applies: only to a folder given by its path."""
        return self.task_name is None

    @cached_property
    def card(self) -> DatasetCard:
        """What dataset.json says."""
        return read_card(self.folder)

    def read(self, columns: ColumnsSpec) -> RawTask:
        """Reads the splits that dataset.json names, or those that are found."""
        card = self.card
        wanted = wanted_columns(card.text, card.text_pair, *card.more, card.label, *columns.named)
        named = {"validation": columns.validation, "test": columns.test}
        files = {split: file for split, file in self._files().items() if not named.get(split)}
        tables = {split: read_table(file, wanted) for split, file in files.items()}
        raw = RawTask(
            name=self.name,
            source=f"local folder {self.folder}",
            tables={**tables, **extra_tables(columns, wanted)},
            text=card.text,
            text_pair=card.text_pair,
            more=card.more,
            label=card.label,
            type=card.type,
            labels=card.labels,
            numbered=True,
            bounds=card.bounds,
            metric=card.metric or self.metric,
            average=card.average,
            notes=_row_notes(card, tables),
            keys={"text": "text_fields", "text_pair": "text_fields", "label": "label_field"},
        )
        return override(raw, columns)

    def _files(self) -> dict[str, Path]:
        files = self.card.files
        if files is not None:
            return {split: self.folder / file for split, file in files.items()}
        return {split: path for split in SPLITS if (path := self._found(split)) is not None}

    def _found(self, split: str) -> Path | None:
        names = [f"{split}{suffix}{packed}" for suffix in SUFFIXES for packed in ("", ".gz")]
        there = [name for name in names if (self.folder / name).is_file()]
        if len(there) > 1:
            raise PipelineError(
                f"which file is {split}: {' or '.join(there)}?",
                where=str(self.folder),
                hint=f'say so in dataset.json: "files": {{"{split}": "{there[0]}"}}',
            )
        if not there and split == "train":
            raise PipelineError(
                "the folder has no train file",
                where=str(self.folder),
                hint="train.jsonl, train.csv or the like, or 'files' in dataset.json",
            )
        return self.folder / there[0] if there else None


def _row_notes(card: DatasetCard, tables: Mapping[str, Table]) -> tuple[str, ...]:
    said = {split: card.rows.get(split) for split in tables}
    return tuple(
        f"{split}: dataset.json says {said[split]:,} rows, the file has {len(table.rows):,}"
        for split, table in tables.items()
        if said[split] not in (None, len(table.rows))
    )
