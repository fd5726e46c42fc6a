"""Make a folder of a model: `python -m functions.export_model.convert spec.json`.

The spec names `format` (merged or gguf), `name`, `base` (a folder), `adapter` (a folder or null), `out` (a folder that
is there), `texts` (prompts, on which a pre-tokenizer is tried). Prints {"refused": null or a sentence, "warning": …}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gguf
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from functions._shared.child import answer
from functions.export_model import gguf_rules
from functions.export_model.core import ExportError

GGUF = "model-f16.gguf"


def merged(base: str, adapter: str | None) -> Any:
    """Return the whole model in float32, an adapter added to its base's weights."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    return model


def write_gguf(spec: dict[str, Any], model: Any, tokenizer: Any) -> str | None:
    """Write one GGUF file; returns what its user has to know, None when there is nothing."""
    config = json.loads(model.config.to_json_string(use_diff=False))
    known = gguf_rules.architecture(config)
    kind, misread = gguf_rules.pre_tokenizer(Path(spec["base"]) / "tokenizer.json", spec["texts"])
    writer = gguf.GGUFWriter(Path(spec["out"]) / GGUF, gguf.MODEL_ARCH_NAMES[known.arch])
    gguf_rules.write_config(writer, spec["name"], config)
    gguf_rules.write_tokenizer(writer, tokenizer, config, kind)
    gguf_rules.write_tensors(writer, model.state_dict(), config)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    if not misread:
        return None
    count = len(spec["texts"]) + len(gguf_rules.HARD)
    return (
        f"llama.cpp has no pre-tokenizer that splits text as this tokenizer does; with the nearest, {kind}, it reads "
        f"{misread} of {count} texts as other tokens. Give it token ids of this folder's tokenizer instead of text."
    )


def convert(spec: dict[str, Any]) -> dict[str, str | None]:
    """Write the folder's weights."""
    try:
        model = merged(spec["base"], spec["adapter"])
        tokenizer = AutoTokenizer.from_pretrained(spec["base"], local_files_only=True)
        if spec["format"] == "gguf":
            return {"refused": None, "warning": write_gguf(spec, model, tokenizer)}
        model.save_pretrained(spec["out"])
        return {"refused": None, "warning": None}
    except ExportError as error:
        return {"refused": str(error), "warning": None}


if __name__ == "__main__":
    sys.exit(answer(convert))
