"""Source: the Hugging Face hub, or downloaded hub repositories (data.root), through `load_dataset`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.catalog import HubPlace, TaskEntry
from fusion_pipeline.tasks.names import safe_name
from fusion_pipeline.tasks.raw import COLUMN_KEYS, RawTask, override
from fusion_pipeline.tasks.spec import SPLITS, ColumnsSpec
from fusion_pipeline.tasks.table import Table, require_columns


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """A task of a yaml with a hub section."""

    entry: TaskEntry
    place: HubPlace
    root: str | None = None
    takes_columns: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The task's name."""
        return self.entry.name

    def read(self, columns: ColumnsSpec) -> RawTask:
        """Loads the splits that the yaml maps."""
        loaded = _load(self.place, self.root)
        tables, notes = _tables(self.place, loaded, _chosen(self.place, loaded))
        return RawTask(
            name=self.name,
            source=_called(self.place, self.root),
            tables=tables,
            text=self.place.text,
            text_pair=self.place.text_pair,
            label=self.place.label,
            type=self.entry.type,
            labels=self.entry.labels,
            metric=self.entry.metric,
            notes=(*self.place.notes, *notes),
            keys={key: f"hub.{key}" for key in COLUMN_KEYS},
        )


@dataclass(frozen=True, kw_only=True)
class HubIdSource:
    """A hub repository named by its id, with its columns in columns.*."""

    place: HubPlace
    root: str | None = None
    takes_columns: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """The repository's name without its owner, made safe."""
        return safe_name(self.place.id.split("/")[-1])

    def read(self, columns: ColumnsSpec) -> RawTask:
        """Loads the splits that there are under the usual names."""
        for key in ("validation", "test"):
            if key in columns.given:
                raise PipelineError(
                    f"columns.{key} goes with files, not with data=hub", where=f"columns.{key}"
                )
        loaded = _load(self.place, self.root)
        chosen = {split: split for split in SPLITS if split in loaded}
        label = columns.label or "label"
        place = HubPlace(id=self.place.id, text=columns.text, text_pair=columns.text_pair, label=label)
        tables, notes = _tables(place, loaded, chosen)
        names = _class_names(loaded["train"], label) if "train" in loaded else None
        raw = RawTask(
            name=self.name, source=_called(self.place, self.root), tables=tables, labels=names, notes=notes
        )
        return override(raw, columns)


def _called(place: HubPlace, root: str | None) -> str:
    parts = "".join(f" {part}" for part in (place.config, place.revision and f"@ {place.revision}") if part)
    return f"hub {place.id}{parts}" + (f" (downloaded, in {root})" if root else "")


def _load(place: HubPlace, root: str | None) -> Mapping[str, Any]:
    from datasets import load_dataset

    path = place.id
    if root is not None:
        folder = Path(root).expanduser() / place.id
        if not folder.is_dir():
            raise PipelineError(
                f"data.root holds no download of {place.id}",
                where=str(folder),
                hint=f"hf download --repo-type dataset {place.id} --local-dir {folder}",
            )
        path = str(folder)
    try:
        return load_dataset(path, name=place.config, revision=None if root else place.revision)
    except ConnectionError as error:
        raise _unreachable(place, error) from error
    except Exception as error:  # whatever the library raises, it is about this repository
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise PipelineError(
            f"the hub data set cannot be loaded: {first}",
            where=_called(place, root),
            hint="check id, data.config and data.revision; a private or gated one needs `hf auth login`",
        ) from error


def _unreachable(place: HubPlace, error: Exception) -> PipelineError:
    return PipelineError(
        f"the hub cannot be reached: {error}",
        where=f"hub {place.id}",
        hint="data=embedded needs no network; data=local data.root=DIR reads dataset folders; "
        "data=hub data.root=DIR reads downloaded hub repositories; behind a proxy set HTTPS_PROXY",
    )


def _chosen(place: HubPlace, loaded: Mapping[str, Any]) -> dict[str, str]:
    chosen = dict(place.splits or {split: split for split in SPLITS if split in loaded})
    for theirs in chosen.values():
        if theirs not in loaded:
            raise PipelineError(
                f"the hub data set has no split '{theirs}'; there are: {', '.join(loaded)}",
                where=f"hub {place.id}",
                hint="correct hub.splits in the task's yaml",
            )
    return chosen


def _tables(
    place: HubPlace, loaded: Mapping[str, Any], chosen: Mapping[str, str]
) -> tuple[dict[str, Table], tuple[str, ...]]:
    tables, notes = {}, []
    for ours, theirs in chosen.items():
        table, left_out = _table(place, loaded[theirs], f"hub {place.id}, split {theirs}")
        tables[ours] = table
        if left_out:
            notes.append(f"{ours}: {left_out:,} rows without a label or a text left out")
    return tables, tuple(notes)


def _table(place: HubPlace, dataset: Any, name: str) -> tuple[Table, int]:
    """The split's rows; those without label or text are left out: nobody can correct them on the hub."""
    columns = tuple(dataset.column_names)
    wanted = {key: getattr(place, key) for key in COLUMN_KEYS if getattr(place, key)}
    empty = Table(name=name, columns=columns, rows=(), lines=(), unit="row")
    require_columns(empty, {f"hub.{key}": column for key, column in wanted.items()})
    label = place.label or "label"
    present = [column for column in columns if column in {*wanted.values(), "text", "text_pair", label}]
    values = dataset.select_columns(present).to_dict()
    if label in values:
        values[label] = _named(values[label], _class_names(dataset, label), place)
    texts = [values[column] for column in present if column != label]
    kept = [
        i
        for i in range(len(dataset))
        if values[label][i] is not None and all(text[i] not in (None, "") for text in texts)
    ]
    rows = [{column: values[column][i] for column in present} for i in kept]
    table = Table(name=name, columns=columns, rows=rows, lines=[i + 1 for i in kept], unit="row")
    return table, len(dataset) - len(kept)


def _class_names(dataset: Any, label: str) -> tuple[str, ...] | None:
    names = getattr(dataset.features.get(label), "names", None)
    return tuple(names) if names else None


def _named(labels: list[Any], names: tuple[str, ...] | None, place: HubPlace) -> list[Any]:
    """Labels under our names, whatever the order of the hub's own classes; None for rows without one."""
    # With named classes the hub writes -1 for a label it hides or never had.
    hidden = place.unlabelled if place.unlabelled is not None else -1 if names else None

    def _ours(label: Any) -> Any:
        if label is None or (hidden is not None and label == hidden):
            return None
        theirs = names[label] if names and isinstance(label, int) else label
        key = str(theirs).lower() if isinstance(theirs, bool) else str(theirs)
        return place.labels.get(key, theirs)

    return [_ours(label) for label in labels]
