"""A directory becomes a base model or is refused in a sentence: real files, a real template in a process of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from contracts.manifest import Manifest
from functions.register_model import work
from functions.register_model.core import NotAModelError
from functions.register_model.work import register
from infra.adapters.memory import MemoryBlobs
from infra.children.child import ProcessChild
from infra.cli import main as cli
from infra.runtime.bootstrap import DEMO_FOLDER

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory of one's own, as the demo base is."""
    return shutil.copytree(DEMO_FOLDER, tmp_path / "base")


async def refusal(folder: Path, blobs: MemoryBlobs | None = None) -> str:
    """The sentence with which a directory is refused."""
    blobs = blobs or MemoryBlobs()
    with pytest.raises(NotAModelError) as refused:
        await register(blobs, ProcessChild(), "mine", folder)
    assert await blobs.list("public/") == [], "nothing of it was stored"
    return str(refused.value)


async def test_what_is_announced_is_what_is_stored(folder: Path) -> None:
    blobs, told = MemoryBlobs(), list[str]()
    data, manifest = await register(blobs, ProcessChild(), "mine", folder, told.append)
    assert Manifest.model_validate_json(await blobs.get(data.manifest.key)) == manifest
    assert manifest.digest() == data.manifest.sha256
    for file in manifest.files:
        assert await blobs.get(file.key) == (folder / file.path).read_bytes()
    assert {file.path for file in manifest.files} == {path.name for path in folder.iterdir()} - {
        "README.md", "temper.json"
    }  # fmt: skip
    assert data.parameters == sum(tensor.size for tensor in load_file(folder / "model.safetensors").values())
    assert len(told) == len(manifest.files)
    assert await register(blobs, ProcessChild(), "mine", folder, told.append) == (data, manifest)
    assert len(told) == len(manifest.files), "what is there is not stored again"


async def test_weights_that_are_cut_short_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    header = int.from_bytes(whole[:8], "little")
    for cut in (0, 4, 8, 100, 8 + header, len(whole) - 1):
        weights.write_bytes(whole[:cut])
        assert "model.safetensors is damaged or cut short" in await refusal(folder), cut
    weights.write_bytes((2**62).to_bytes(8, "little") + whole[8:])
    assert "model.safetensors is damaged or cut short" in await refusal(folder)


async def test_a_shard_that_is_missing_is_named(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    shards = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(shards))
    assert "model-2.safetensors, which model.safetensors.index.json names, is missing" in await refusal(folder)


async def test_what_is_no_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    assert "tokenizer.json cannot be read" in await refusal(folder)


async def test_a_template_that_shows_no_chat_is_refused(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ raise_exception('No chats.') }}")
    assert (await refusal(folder)).endswith(": The chat template cannot show a question: No chats.")


async def test_a_template_that_does_not_end_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "RENDER_SECONDS", 3.0)
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    (folder / "chat_template.jinja").write_text(endless)
    assert "chat template could not be tried: killed after 3 s." in await refusal(folder)


async def test_a_folder_whose_names_are_folders_and_dangling_links_is_refused(folder: Path) -> None:
    (folder / "vocab").mkdir()
    await register(MemoryBlobs(), ProcessChild(), "mine", folder)
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(folder / "nowhere")
    assert "config.json (the architecture) is missing" in await refusal(folder)


async def test_a_link_that_leads_out_of_the_folder_is_refused_but_for_weights(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("what no tenant may read")
    (folder / "LICENSE").symlink_to(tmp_path / "secret")
    assert "LICENSE is a link that leads out of the folder; put the file itself there." in await refusal(folder)
    (folder / "LICENSE").unlink()
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tools.jinja").symlink_to(tmp_path / "secret")
    assert "additional_chat_templates/tools.jinja is a link" in await refusal(folder)
    shutil.rmtree(folder / "additional_chat_templates")
    (folder / "model.safetensors").rename(tmp_path / "elsewhere")
    (folder / "model.safetensors").symlink_to(tmp_path / "elsewhere")
    data, _ = await register(MemoryBlobs(), ProcessChild(), "mine", folder)
    assert data.parameters


def test_the_command_line_says_the_sentence_and_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "config.json").write_text("{")
    for name, value in {
        "TEMPER_HOME": folder, "TEMPER_KAFKA_BOOTSTRAP": "127.0.0.1:1", "TEMPER_MONGO_URL": "mongodb://127.0.0.1:1",
        "TEMPER_S3_URL": "http://127.0.0.1:1", "TEMPER_S3_ACCESS_KEY": "a", "TEMPER_S3_SECRET_KEY": "b",
        "TEMPER_SIGNING_KEY": "c",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    with pytest.raises(SystemExit) as ended:
        cli.main(["models", "add", "mine", str(folder)])
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"error: {folder}: config.json cannot be read: Invalid JSON")
    assert said.err.count("\n") == 1
