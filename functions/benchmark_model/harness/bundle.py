"""What a benchmark bundle holds: a folder with data of known benchmarks and with any lm-eval YAML beside its data.

Known are (splits as JSON lines, `SPLIT.jsonl`, or Parquet, `SPLIT.parquet` or `SPLIT-*.parquet`, columns as published):

    mmlu/SUBJECT/{test,dev}   hellaswag/validation   arc_challenge/test   gpqa/train

Nothing here imports lm-eval or torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

OWN = Path(__file__).parents[1] / "tasks"
"""The bundle that ships."""
SHOWN_PROBLEMS = 5
_READERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}


class BundleError(Exception):
    """A bundle that cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Family:
    """A published benchmark whose columns are known."""

    name: str
    title: str
    split: str
    """Whose rows are asked."""
    columns: Mapping[str, str]
    """Column → what it has to be, a key of `_KINDS`."""
    include: str
    """lm-eval's own YAML, below its folder of tasks; `{subject}` stands for the folder."""
    metric: str
    examples: str | None = None
    """The split that few-shot examples come from; a bundle may do without."""
    subjects: bool = False
    """One folder for each subject."""


FAMILIES = (
    Family(
        "mmlu", "MMLU", "test", {"question": "text", "choices": "four texts", "answer": "0 to 3"},
        "mmlu/default/mmlu_{subject}.yaml", "acc", "dev", subjects=True,
    ),
    Family(
        "hellaswag", "HellaSwag", "validation",
        {"activity_label": "text", "ctx_a": "text", "ctx_b": "any text", "endings": "four texts", "label": "0 to 3"},
        "hellaswag/hellaswag.yaml", "acc_norm",
    ),
    Family(
        "arc_challenge", "ARC-Challenge", "test",
        {"question": "text", "choices": "texts and labels", "answerKey": "text"},
        "arc/arc_challenge.yaml", "acc_norm",
    ),
    Family(
        "gpqa", "GPQA", "train",
        {
            "Question": "text", "Correct Answer": "text", "Incorrect Answer 1": "text",
            "Incorrect Answer 2": "text", "Incorrect Answer 3": "text",
        },
        "gpqa/zeroshot/gpqa_main_zeroshot.yaml", "acc",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One task of a bundle: where its data lies and what is wrong with it."""

    task: str
    """As lm-eval calls it."""
    family: str
    """What it counts to; the task itself where it stands alone."""
    title: str
    metric: str
    """The one that is compared; empty: the first of the YAML."""
    files: Mapping[str, tuple[Path, ...]]
    """Split → its files."""
    items: int
    sha256: str
    """Of the data, and of YAML and code where the bundle brings them."""
    include: str
    """lm-eval's own YAML, or the bundle's."""
    subject: str = ""
    problems: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether it can be asked."""
        return not self.problems


def inspect(*folders: Path) -> list[Part]:
    """Return every task that bundles have or begin to have, in order of name; raises BundleError."""
    found: list[Part] = []
    for folder in folders:
        if not folder.is_dir():
            raise BundleError(f"{folder} is no folder. A benchmark bundle is a folder with data of benchmarks.")
        found += [_part(family, place, subject) for family in FAMILIES for place, subject in _places(folder, family)]
        known = {folder / family.name for family in FAMILIES}
        foreign = [_foreign(path) for path in sorted(folder.rglob("*.yaml")) if not known & set(path.parents)]
        found += filter(None, foreign)
    names = [part.task for part in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BundleError(f"There is more than one task {twice[0]!r}. Give each YAML a task name of its own.")
    return sorted(found, key=lambda part: part.task)


def missing(parts: list[Part]) -> list[str]:
    """Return the known benchmarks that a bundle has nothing of."""
    return [family.name for family in FAMILIES if family.name not in {part.family for part in parts}]


def _places(folder: Path, family: Family) -> list[tuple[Path, str]]:
    place = folder / family.name
    if not place.is_dir():
        return []
    if not family.subjects:
        return [(place, "")]
    return [(path, path.name) for path in sorted(place.iterdir()) if path.is_dir()]


def _part(family: Family, place: Path, subject: str) -> Part:
    files, problems, items = {}, [], 0
    for split in filter(None, (family.split, family.examples)):
        files[split] = _files(place, split)
        if not files[split]:
            if split == family.split:
                problems.append(f"{place.name}/ has no {split}.jsonl and no {split}.parquet")
            continue
        count, wrong = _check(files[split], family.columns)
        problems += wrong
        if split == family.split:
            items = count
    files = {split: paths for split, paths in files.items() if paths}
    if len({path.suffix for paths in files.values() for path in paths}) > 1:
        problems.append(f"the splits of {place.name}/ are of several formats; make all of them .jsonl or all .parquet")
    return Part(
        task=f"{family.name}_{subject}" if subject else family.name,
        family=family.name,
        title=family.title,
        metric=family.metric,
        files=files,
        items=items,
        sha256=_hash([path for paths in files.values() for path in paths]),
        include=family.include.format(subject=subject),
        subject=subject,
        problems=tuple(problems),
    )


def _files(place: Path, split: str) -> tuple[Path, ...]:
    for pattern in (f"{split}.jsonl", f"{split}.parquet", f"{split}-*.parquet"):
        paths = tuple(sorted(place.glob(pattern)))
        if paths:
            return paths
    return ()


def _check(paths: tuple[Path, ...], columns: Mapping[str, str]) -> tuple[int, list[str]]:
    """Return how many rows there are and what is wrong with them, the first few."""
    count = 0
    problems: list[str] = []
    for path in paths:
        try:
            for number, row in enumerate(rows(path), 1):
                count += 1
                wrong = _wrong(row, columns)
                if wrong and len(problems) < SHOWN_PROBLEMS:
                    problems.append(f"{path.name} row {number}: {wrong}")
        except (OSError, ValueError) as error:  # UnicodeDecodeError and Arrow's errors are ValueErrors
            problems.append(f"{path.name} cannot be read: {error}")
    if not count and not problems:
        problems.append(f"{paths[0].name} has no rows")
    return count, problems


def rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a file of JSON lines, Parquet or CSV; raises OSError or ValueError."""
    if path.suffix == ".parquet":
        from pyarrow import parquet

        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    elif path.suffix == ".csv":
        import csv

        with path.open(encoding="utf-8", newline="") as lines:
            yield from csv.DictReader(lines)
    else:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise ValueError(f"a line is no JSON object: {line[:60]!r}")
                    yield row


def _wrong(row: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    lacking = [name for name in columns if name not in row]
    if lacking:
        return f"lacks the column {lacking[0]!r} (it has {', '.join(sorted(row)) or 'none'})"
    for name, kind in columns.items():
        if not _KINDS[kind](row[name]):
            return f"{name!r} should be {kind}, and is {str(row[name])[:40]!r}"
    if "answerKey" in columns and row["answerKey"] not in row["choices"]["label"]:
        return f"'answerKey' {row['answerKey']!r} is none of the labels {row['choices']['label']}"
    return ""


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _texts_and_labels(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    texts, labels = value.get("text"), value.get("label")
    return (
        isinstance(texts, list)
        and isinstance(labels, list)
        and len(texts) == len(labels) > 1
        and all(map(_text, texts))
    )


_KINDS: Mapping[str, Callable[[Any], bool]] = {
    "text": _text,
    "any text": lambda value: isinstance(value, str),
    "four texts": lambda value: isinstance(value, list) and len(value) == 4 and all(map(_text, value)),
    "0 to 3": lambda value: str(value) in {"0", "1", "2", "3"},
    "texts and labels": _texts_and_labels,
}


class _Plain(yaml.SafeLoader):
    """Reads lm-eval's YAML without running what `!function` names."""


_Plain.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))  # type: ignore[arg-type]


def read_yaml(path: Path) -> Any:
    """Return a YAML's content with its `!function`s as names; raises ValueError."""
    try:
        return yaml.load(path.read_text("utf-8"), Loader=_Plain)  # noqa: S506  it is a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(f"{path.name} is no YAML: {error}") from error


def _whole(path: Path, seen: list[Path]) -> dict[str, Any]:
    """A YAML with what it includes, as lm-eval reads it; `seen` gets all of them."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is no mapping")
    if path in seen:
        raise ValueError(f"{path.name} includes itself")
    seen.append(path)
    includes = content.pop("include", [])
    merged: dict[str, Any] = {}
    for name in includes if isinstance(includes, list) else [includes]:
        merged |= _whole(path.parent / name, seen)
    return merged | content


def _foreign(path: Path) -> Part | None:
    """A task of a YAML that the bundle brings; None for one that only others include, or a group."""
    read: list[Path] = []
    try:
        config = _whole(path, read)
    except (OSError, ValueError) as error:
        return _broken(path, str(error))
    task = config.get("task")
    if not isinstance(task, str):
        return None
    files, problems = _data(path, config)
    split = next((config[key] for key in ("test_split", "validation_split", "training_split") if config.get(key)), None)
    items = 0
    if split is None:
        problems.append("names no test_split, validation_split or training_split")
    elif split not in files and not problems:
        problems.append(f"its data_files have no split {split!r}")
    for name, paths in files.items():
        count, wrong = _check(paths, {})
        problems += wrong
        items = count if name == split else items
    metrics = config.get("metric_list") or []
    return Part(
        task=task,
        family=task,
        title=str(config.get("task_alias") or task),
        metric=str(metrics[0].get("metric", "")) if metrics and isinstance(metrics[0], dict) else "",
        files=files,
        items=items,
        # what its `!function`s name lies beside it
        sha256=_hash([*read, *sorted(path.parent.glob("*.py")), *(file for paths in files.values() for file in paths)]),
        include=str(path.resolve()),
        problems=tuple(problems),
    )


def _broken(path: Path, problem: str) -> Part:
    return Part(path.stem, path.stem, path.stem, "", {}, 0, _hash([path]), str(path), problems=(problem,))


def _data(path: Path, config: Mapping[str, Any]) -> tuple[dict[str, tuple[Path, ...]], list[str]]:
    """The data files of a YAML by split, relative ones beside it, and what is wrong with them."""
    if config.get("dataset_path") not in set(_READERS.values()):
        return {}, [
            f"dataset_path {config.get('dataset_path')!r} would be downloaded; name json, parquet or csv, and the "
            "files in dataset_kwargs.data_files"
        ]
    named = (config.get("dataset_kwargs") or {}).get("data_files")
    if not isinstance(named, dict) or not named:
        return {}, ["dataset_kwargs.data_files must say which file each split is, such as {test: test.jsonl}"]
    files: dict[str, tuple[Path, ...]] = {}
    problems = []
    for split, names in named.items():
        paths = tuple(path.parent / name for name in (names if isinstance(names, list) else [names]))
        problems += [f"{file.name} is not there" for file in paths if not file.is_file()]
        files[str(split)] = tuple(file for file in paths if file.is_file())
    return {split: paths for split, paths in files.items() if paths}, problems


def _hash(paths: list[Path]) -> str:
    """SHA-256 over the files' hashes, in order: names do not count."""
    whole = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()


def reader(part: Part) -> str:
    """Return which of datasets' readers reads the part's files."""
    return next(_READERS[path.suffix] for paths in part.files.values() for path in paths)
