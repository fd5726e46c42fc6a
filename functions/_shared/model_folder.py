"""A stored model as the folder that other software reads: its own files, its base's tokenizer, a card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.manifest import Manifest, ManifestFile

CARD = "README.md"


def files_of(manifest: Manifest, base: Manifest | None) -> list[ManifestFile]:
    """Return the files of a model's folder by name: what is there to train on is left out, the base's weights too."""
    found = {file.path: file for file in (base.files if base else ()) if file.role == "tokenizer"}
    found |= {file.path: file for file in manifest.files if file.role != "resume"}
    return [found[path] for path in sorted(found)]


def card(model: Mapping[str, Any], plan: Mapping[str, Any] | None, more: str = "") -> str:
    """Return a model's card in Markdown, with the front matter that model hubs read; `model` is its view."""
    base, name = model["base_name"] or model["id"], model["id"]
    library = {"adapter": "peft", "embedding": "sentence-transformers"}.get(model["kind"], "transformers")
    lines = [
        "---",
        f"base_model: {base}",
        f"library_name: {library}",
        "license: other",
        "license_name: that-of-the-base-model",
        "---",
        "",
        f"# {name}",
        "",
        f"Tuned from `{base}` by Temper." if model["job"] else "A base model, as Temper has it.",
        "The licence of the base model holds for what was tuned from it.",
        "",
        "| | |",
        "|---|---|",
        f"| Manifest | SHA-256 {model['manifest']['sha256']} |",
        f"| Base's manifest | SHA-256 {(model['base'] or model['manifest'])['sha256']} |",
        f"| Chat template | SHA-256 {model['template_sha256']} |",
        f"| Context | {model['context']} tokens |",
    ]
    if plan is not None:
        tuning = plan["tuning"]
        lines += [
            f"| Trained | {tuning['kind']}, rank {tuning['r']}, alpha {tuning['alpha']} |",
            f"| Rows, epochs, steps | {plan['rows']}, {plan['n_epochs']}, {model['step']} |",
            f"| Learning rate, batch, seed | {plan['learning_rate']:g}, {plan['batch_size']}, {plan['seed']} |",
        ]
    return "\n".join([*lines, "", more]).rstrip() + "\n"
