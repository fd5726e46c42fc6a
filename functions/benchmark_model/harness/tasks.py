"""lm-eval's tasks for the parts of a bundle: each one's YAML includes lm-eval's own and names the bundle's files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from functions.benchmark_model.harness.bundle import FAMILIES, Part, read_yaml, reader

FEW_SHOT = {"mmlu": 5}
"""Few-shot examples where the spec says nothing and the bundle has some; 0 for all others."""
_MMLU = "mmlu/default/_default_template_yaml"


def write(parts: Sequence[Part], folder: Path, shipped: Path, few_shot: Mapping[str, int]) -> None:
    """Write a YAML for each part into `folder`; `shipped` is lm-eval's folder of tasks."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in parts:
        # JSON is YAML, and says every string without surprises.
        (folder / f"{part.task}.yaml").write_text(json.dumps(config(part, shipped, few_shot), indent=1), "utf-8")


def config(part: Part, shipped: Path, few_shot: Mapping[str, int]) -> dict[str, Any]:
    """Return one part's YAML as a dictionary."""
    files = {split: [str(path.resolve()) for path in paths] for split, paths in part.files.items()}
    family = next((family for family in FAMILIES if family.name == part.family), None)
    wanted = few_shot.get(part.family)
    if family is None:
        kwargs = read_yaml(Path(part.include)).get("dataset_kwargs") or {}
        foreign = {"include": part.include, "task": part.task, "dataset_kwargs": {**kwargs, "data_files": files}}
        return foreign if wanted is None else {**foreign, "num_fewshot": wanted}
    examples = family.examples if family.examples in files else None
    told: dict[str, Any] = {
        "include": str(shipped / part.include),
        "task": part.task,
        "dataset_path": reader(part),
        "dataset_name": None,
        "dataset_kwargs": {"data_files": files},
        "training_split": None,
        "validation_split": family.split if family.split != "test" else None,
        "test_split": "test" if family.split == "test" else None,
        "num_fewshot": wanted if wanted is not None else FEW_SHOT.get(part.family, 0) if examples else 0,
    }
    if family.subjects:
        told["fewshot_split"] = examples
        if not (shipped / part.include).is_file():  # a subject that the published benchmark does not have
            about = part.subject.replace("_", " ")
            told["include"] = str(shipped / _MMLU)
            told["description"] = f"The following are multiple choice questions (with answers) about {about}.\n\n"
    return told
