"""Documentation that is generated is what the code says now."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from faststream.specification.asyncapi.v3_0_0.schema import ApplicationSchema

from contracts.topics import TOPICS
from infra import docs
from infra.runtime.functions import declared
from infra.settings import Settings

FILES = ("infra/REFERENCE.md", "functions/README.md", "contracts/asyncapi.yaml")


def test_nothing_generated_is_stale(capsys: pytest.CaptureFixture[str]) -> None:
    status = docs.main(["--check"])
    assert status == 0, capsys.readouterr().out


def test_the_check_names_what_is_stale_and_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = [f"temper/{name}.py" for name in ("_async", "_sync", "types")]
    for name in ("pyproject.toml", "README.md", "contracts/openapi.json", *client, *FILES):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(docs.ROOT / name, tmp_path / name)
    for front in docs.ROOT.glob("functions/*/*.py"):
        (tmp_path / "functions" / front.parent.name).mkdir(exist_ok=True)
        shutil.copy(front, tmp_path / "functions" / front.parent.name)
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    true = {tmp_path / name: (tmp_path / name).read_text() for name in FILES}
    old = {file: text.replace("job.queued", "job.waits") for file, text in true.items()}
    for file, text in old.items():
        file.write_text(text)
        assert text != true[file]
    assert docs.main(["--check"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert sorted(said) == sorted(f"{name} is stale; run `make docs`" for name in FILES)
    assert {file: file.read_text() for file in old} == old
    assert docs.main([]) == 0
    assert {file: file.read_text() for file in true} == true


def test_an_unknown_block_is_named() -> None:
    with pytest.raises(
        docs.DocsError,
        match=r"README\.md: there is no block 'topcis'\. Known are endpoints, parameters, limits, topics",
    ):
        docs.with_blocks("<!-- generated: topcis -->\n<!-- end of topcis -->", "README.md")


def test_asyncapi_is_a_valid_description_whose_references_all_lead_somewhere() -> None:
    described = yaml.safe_load(docs.asyncapi())
    ApplicationSchema.model_validate(described)
    assert list(described["channels"]) == [topic.name for topic in TOPICS]
    for reference in references(described):
        found: Any = described
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


def references(node: Any) -> list[str]:
    """Every `$ref` below a node."""
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [each for value in node.values() for each in references(value)]
    return [each for value in node for each in references(value)] if isinstance(node, list) else []


def test_every_setting_is_explained() -> None:
    for settings in (Settings, *(each.settings for each in declared().values())):
        assert docs.field_docs(settings).keys() == settings.model_fields.keys()
