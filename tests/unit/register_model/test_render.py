"""A tokenizer and a template that cannot show a question and its answer are refused, with the template's own reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from functions.register_model.render import refused
from infra.runtime.bootstrap import DEMO_FOLDER

TEMPLATES = Path(__file__).parents[3].parent / "shared" / "data" / "chat_templates"


def verdict(template: str) -> str | None:
    """What is said of the demo base with this template."""
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "", "pad_token": ""}
    return refused({"tokenizer": str(DEMO_FOLDER / "tokenizer.json"), "template": template, "tokens": tokens})


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{% for m in messages %}{{ m.content }}", "cannot show a question: Unexpected end of template"),
        ("{{ raise_exception('No chats.') }}", "cannot show a question: No chats."),
        ("{{ messages.x.y }}", "cannot show a question: 'list object' has no attribute 'x'"),
        ("{{ ().__class__.__base__.__subclasses__() }}", "cannot show a question: access to attribute '__class__'"),
        (
            "{{ messages[0].content }}{% if messages[1:] %}{{ raise_exception('No answers') }}{% endif %}",
            "cannot show a question and its answer: No answers.",
        ),
        ("{{ bos_token }}hello", "leaves out what the user says."),
        ("{{ messages[0].content }}", "leaves out what the assistant says."),
    ],
)
def test_a_template_that_shows_no_chat_is_refused(template: str, why: str) -> None:
    assert (verdict(template) or "").startswith(f"The chat template {why}")


def test_the_demo_bases_own_template_is_taken() -> None:
    assert verdict((DEMO_FOLDER / "chat_template.jinja").read_text()) is None


@pytest.mark.skipif(not TEMPLATES.is_dir(), reason="official templates lie beside the checkout on some machines")
def test_every_official_template_is_taken() -> None:
    found = {file.stem: verdict(file.read_text()) for file in TEMPLATES.glob("*.jinja")}
    assert found
    assert {name: why for name, why in found.items() if why} == {}
