"""HTML, Markdown and Word through unstructured, offline; and whether the patching is still needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from functions.extract_text.draft import DraftPiece
from functions.extract_text.office import read_office
from functions.extract_text.partition import partition_text
from tests.unit.extract_text.documents import word

WATCHED = """
import json, sys
hosts = []
def watch(event, arguments):
    if event == "socket.getaddrinfo":
        hosts.append(arguments[0])
        raise PermissionError("no network in tests")
sys.addaudithook(watch)
error = ""
{imports}
try:
    {read}
except Exception as raised:
    error = type(raised).__name__
print(json.dumps({{"hosts": hosts, "torch": "torch" in sys.modules, "error": error}}))
"""


def watched(imports: str, read: str) -> dict[str, Any]:
    """Return what a fresh process asked of the network, whether it loaded torch, and its error."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    code = WATCHED.format(imports=imports, read=read)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=True, timeout=120)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_adapter_asks_nobody_and_loads_no_torch() -> None:
    found = watched(
        "from functions.extract_text.partition import partition_text",
        "assert list(partition_text('html', '<p>The device keeps a record.</p>'))",
    )
    assert found == {"hosts": [], "torch": False, "error": ""}


@pytest.mark.slow
def test_unstructured_left_alone_still_needs_the_patching() -> None:
    """When this fails, drop from partition.py whatever is no longer needed: a ping, a download, torch."""
    found = watched(
        "from unstructured.partition.text import element_from_text",
        "element_from_text('The device keeps a record.')",
    )
    assert len(found["hosts"]) == 2, "the ping on import or the download of a model is gone"
    assert found["error"], "it has a model without a download"
    assert found["torch"], "spaCy no longer imports torch"


def test_markdown_has_headings_lists_code_and_rows() -> None:
    text = (
        "# Handbook\n\nThe *device* keeps a record.\n\n## Safety\n\n- disconnect it\n- wait\n\n"
        "| Model | Price |\n|---|---|\n| A1 | 100 EUR |\n\n```\nx = 1\ny = 2\n```\n"
    )
    assert list(partition_text("md", text)) == [
        DraftPiece("title", "Handbook", 1),
        DraftPiece("text", "The device keeps a record."),
        DraftPiece("title", "Safety", 2),
        DraftPiece("list", "disconnect it"),
        DraftPiece("list", "wait"),
        DraftPiece("table", "Model | Price"),
        DraftPiece("table", "A1 | 100 EUR"),
        DraftPiece("text", "x = 1\ny = 2"),
    ]


def test_a_page_has_its_content_without_scripts_and_navigation() -> None:
    html = (
        "<html><head><title>T</title><script>evil()</script><style>p{}</style></head><body><nav><a>About</a></nav>"
        "<h1>Handbook</h1><p>The device <b>keeps</b> a record.</p><h3>Safety</h3><ol><li>Wait</li></ol>"
        "<table><tr><th>Model</th><th>Price &lt; 1</th></tr><tr><td>A<br>1</td><td></td></tr></table></body></html>"
    )
    assert list(partition_text("html", html)) == [
        DraftPiece("title", "Handbook", 1),
        DraftPiece("text", "The device keeps a record."),
        DraftPiece("title", "Safety", 3),
        DraftPiece("list", "Wait"),
        DraftPiece("table", "Model | Price < 1"),
        DraftPiece("table", "A 1"),
    ]


def test_a_word_document_has_its_styles_and_no_headers(tmp_path: Path) -> None:
    path = tmp_path / "document"
    path.write_bytes(word())
    found = read_office(path, "docx")
    text = found.pages[0].text
    assert [(each.kind, each.level, text[each.span.start : each.span.end]) for each in found.elements] == [
        ("title", 1, "Handbook"),
        ("text", None, "The device keeps a record of every reading."),
        ("title", 2, "Safety"),
        ("list", None, "Disconnect the power"),
        ("list", None, "1. Wait for a minute"),
        ("table", None, "Model | Price"),
        ("table", None, "A1 | 100 EUR"),
    ]
    assert "confidential" not in text
    assert "paper" not in text


def test_a_page_has_neither_the_signs_behind_headings_nor_what_is_hidden() -> None:
    html = (
        '<?xml version="1.0" encoding="iso-8859-1"?><html><body><div role="navigation"><p>Home and more.</p></div>'
        '<h1>Keys<a class="headerlink" href="#keys" title="Link to this heading">¶</a></h1>'
        '<h2><a href="https://example.org/rules#top">#</a> Locks <a href="page.html#locks">§</a></h2>'
        '<p hidden>GONE</p><p style="color:red; display: none">GONE</p><p style="color:red">Paragraph § 5 holds'
        ' <a href="#five">here</a> — überall.</p></body></html>'
    )
    assert list(partition_text("html", html)) == [
        DraftPiece("title", "Keys", 1),
        DraftPiece("title", "Locks", 2),
        DraftPiece("text", "Paragraph § 5 holds here — überall."),
    ]


@pytest.mark.parametrize("front", ["---\ntitle: 'The keys'\ndate: 2026-03-01\n---\n", '+++\ntitle = "The keys"\n+++\n'])
def test_of_front_matter_the_title_stays_and_a_headings_name_does_not(front: str) -> None:
    body = "\nThey are brass.\n\n## Locks [¶](#locks) {#locks}\n\nThey are iron.\n"
    assert list(partition_text("md", front + body)) == [
        DraftPiece("title", "The keys", 1),
        DraftPiece("text", "They are brass."),
        DraftPiece("title", "Locks", 2),
        DraftPiece("text", "They are iron."),
    ]
    assert next(partition_text("md", f"{front}# Locks\n\nText.\n")) == DraftPiece("title", "Locks", 1)
