"""Make a base model of what is nearly one: `python -m functions.register_model.convert spec.json`.

The spec names `source` (a directory), `target` (an empty one) and what `core.Conversion` says. The target gets links to
all that stays as it is, and new files for the rest. Printed is {"refused": why or null}.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from functions._shared.child import answer
from functions.register_model.core import INDEX, PICKLES, TEMPLATE, TEMPLATE_JSON, WEIGHTS, Conversion

PROBE = "Das Schloß №7 öffnet  um 12:30 Uhr.\n\n\tdef f(x): return x**2  # don't 日本語"


class _RefusedError(Exception):
    """It cannot be made a base model; the text is a sentence."""


def convert(spec: dict[str, Any]) -> dict[str, str | None]:
    """Fill the target; return in a sentence what is in the way, or None."""
    source, target, wanted = Path(spec["source"]), Path(spec["target"]), Conversion(**spec["conversion"])
    for path in source.iterdir():
        if path.is_file() and wanted.gguf is None:
            (target / path.name).symlink_to(path.resolve())
    try:
        if wanted.gguf is not None:
            _gguf(source, target, wanted.gguf)
        if wanted.text_part:
            _text_part(source, target)
        elif wanted.weights:
            _weights(source, target)
        if wanted.tokenizer:
            _tokenizer(source, target)
        if wanted.templates is not None:
            _templates(target, wanted.templates)
    except _RefusedError as error:
        return {"refused": str(error)}
    return {"refused": None}


def _gguf(source: Path, target: Path, name: str) -> None:
    """A GGUF file as a directory: its weights made whole, its tokenizer, its chat template."""
    import torch
    from gguf import GGMLQuantizationType, GGUFReader
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    try:
        reader = GGUFReader(source / name)
        field = reader.get_field("general.architecture")
        family = str(field.contents()) if field else "without a name"
    except Exception as error:
        raise _RefusedError(f"It is no GGUF file, or cut short ({_said(error)}); fetch it again.") from error
    known = sorted({*GGUF_SUPPORTED_ARCHITECTURES} - {"general", "tokenizer", "t5", "umt5"})
    if {family, family.replace("-", "_"), family.replace("moe", "_moe")}.isdisjoint(known):
        raise _RefusedError(
            f"GGUF files of the architecture {family} cannot be read; those of {', '.join(known)} can. "
            "Give the model's Hugging Face directory."
        )
    kinds = {tensor.tensor_type for tensor in reader.tensors if len(tensor.shape) > 1}
    whole = {GGMLQuantizationType.F32: torch.float32, GGMLQuantizationType.F16: torch.float16}
    dtype = whole[kinds.pop()] if len(kinds) == 1 and kinds <= whole.keys() else torch.bfloat16
    del reader
    try:
        how = GgufConfig(dequantize=True)
        model = AutoModelForCausalLM.from_pretrained(source, gguf_file=name, dtype=dtype, quantization_config=how)
        tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=name)
    except Exception as error:
        raise _RefusedError(f"transformers cannot read this GGUF file of {family}: {_said(error)}.") from error
    _save(model, target)
    _save_tokenizer(tokenizer, target)


def _save(model: Any, target: Path) -> None:
    """Write weights and config as a model that was never anything else."""
    for attribute in ("quantization_config", "_pre_quantization_dtype", "_model_name_or_path"):
        if hasattr(model.config, attribute):
            delattr(model.config, attribute)
    model.is_quantized, model.hf_quantizer = False, None
    for name in (WEIGHTS, INDEX, "config.json", "generation_config.json"):
        (target / name).unlink(missing_ok=True)
    model.save_pretrained(target, max_shard_size="5GB")


def _complete(missing: Iterable[str]) -> None:
    if missing := sorted(missing):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise _RefusedError(f"The weights of {missing[0]}{more} are missing; fetch the model again.")


def _weights(source: Path, target: Path) -> None:
    """Pickled weights as safetensors; nothing in them is executed."""
    from transformers import AutoModelForCausalLM

    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            source,
            dtype="auto",
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=False,
            weights_only=True,
            output_loading_info=True,
        )
    except Exception as error:
        raise _RefusedError(f"{PICKLES[0]} cannot be read without running what is in it: {_said(error)}.") from error
    _complete(found["missing_keys"])
    _save(model, target)


def _text_part(source: Path, target: Path) -> None:
    """The language model inside one that sees or hears."""
    import torch
    import transformers

    config = transformers.AutoConfig.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    text = config.get_text_config()
    try:
        with torch.device("meta"):
            part: Any = transformers.AutoModelForCausalLM.from_config(text)
        kind: Any = getattr(transformers, (config.architectures or [""])[0])
    except (AttributeError, ValueError) as error:
        raise _RefusedError(
            f"It is a {config.model_type}, which reads more than text, and transformers has no model of its text part "
            f"({text.model_type}) alone; add a text-only model."
        ) from error
    whole, found = kind.from_pretrained(
        source, dtype="auto", local_files_only=True, use_safetensors=True, output_loading_info=True
    )
    _complete(found["missing_keys"])
    inner = next((each for each in whole.modules() if type(each) is type(part.base_model)), None)
    if inner is None:
        raise _RefusedError(f"It is a {config.model_type}, whose text part cannot be taken out; add a text-only model.")
    part.base_model.load_state_dict(inner.state_dict(), assign=True)
    if not text.tie_word_embeddings:
        part.get_output_embeddings().load_state_dict(whole.get_output_embeddings().state_dict(), assign=True)
    part.tie_weights()
    part.generation_config = whole.generation_config
    part.config.dtype = whole.dtype
    _save(part, target)


def _tokenizer(source: Path, target: Path) -> None:
    """A vocabulary of sentencepiece, tiktoken or plain text as tokenizer.json."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise _RefusedError(f"Its vocabulary cannot be made a tokenizer.json: {_said(error)}.") from error
    _save_tokenizer(tokenizer, target)


def _save_tokenizer(tokenizer: Any, target: Path) -> None:
    from transformers import AutoTokenizer

    if not tokenizer.is_fast or not hasattr(tokenizer, "backend_tokenizer"):
        raise _RefusedError(
            f"Its tokenizer ({type(tokenizer).__name__}) has no form as tokenizer.json, which is needed."
        )
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", TEMPLATE):
        (target / name).unlink(missing_ok=True)
    tokenizer.save_pretrained(target)
    again = AutoTokenizer.from_pretrained(target, local_files_only=True, trust_remote_code=False)
    if again(PROBE)["input_ids"] != tokenizer(PROBE)["input_ids"]:
        raise _RefusedError("Its tokenizer reads texts differently once it is a tokenizer.json; give it as one.")


def _templates(target: Path, templates: dict[str, str] | Any) -> None:
    """Put chat templates where every tokenizer looks: the only one in its file, several in tokenizer_config.json."""
    (target / TEMPLATE).unlink(missing_ok=True)
    (target / TEMPLATE_JSON).unlink(missing_ok=True)
    path = target / "tokenizer_config.json"
    said = json.loads(path.read_text("utf-8")) if path.exists() else {}
    said.pop("chat_template", None)
    if templates.keys() == {"default"}:
        (target / TEMPLATE).write_text(templates["default"], "utf-8")
    else:
        said["chat_template"] = [{"name": name, "template": text} for name, text in templates.items()]
    path.unlink(missing_ok=True)
    path.write_text(json.dumps(said, ensure_ascii=False, indent=2), "utf-8")


def _said(error: Exception) -> str:
    """Return the first line of a library's words, without its last full stop."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return first[:160].rstrip(".: ")


if __name__ == "__main__":
    sys.exit(answer(convert))
