"""What a base model is, and what is refused as one: decided on the names and texts of a Hugging Face directory."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from contracts.bounds import Code, Count, Number, shortened
from contracts.manifest import Role

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
DEFAULT_CONTEXT = 2048
WEIGHTS, INDEX, TEMPLATE = "model.safetensors", "model.safetensors.index.json", "chat_template.jinja"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
TEMPLATE_JSON, ADAPTER = "chat_template.json", "adapter_config.json"
TEMPLATE_FOLDERS = ("additional_chat_templates", "chat_templates")
"""Of `NAME.jinja`: templates beside the default one."""
TEXTS = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    INDEX,
    TEMPLATE,
    TEMPLATE_JSON,
    ADAPTER,
    "temper.json",
)
"""The files that are read to decide; each may be missing here."""
NEEDED = {"config.json": "the architecture", "tokenizer.json": "the tokenizer"}
TOKENIZER = ("tokenizer", "special_tokens", "vocab", "merges", "added_tokens", "chat_template")
LICENCES = ("LICENSE", "LICENCE", "NOTICE", "COPYING")
SLOW = re.compile(r"(tokenizer|spiece|sentencepiece|tiktoken)[\w.-]*\.(model|tiktoken)|tekken\.json|vocab\.(json|txt)")
"""Vocabularies of which transformers makes a tokenizer.json."""
CONTEXTS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length", "seq_length")
TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")


class NotAModelError(Exception):
    """The directory is no causal language model that Temper can serve; says which file and why."""


@dataclass(frozen=True, slots=True)
class InspectedBase:
    """A base model, as its directory says it."""

    files: Mapping[str, Role]
    """File name → what it is for; what is left behind (pickles, code, readmes) is not among them."""
    template: str
    tokens: Mapping[str, str]
    """The special tokens that a template may name."""
    context: int
    auto: Mapping[str, float]
    """Recommended values for `auto` hyperparameters."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What of a directory becomes something else before it is a base model."""

    gguf: str | None = None
    """The file that all of it is in."""
    weights: bool = False
    """Pickled weights become safetensors."""
    text_part: bool = False
    """Of a model that also sees or hears, the part that reads and writes."""
    tokenizer: bool = False
    """A vocabulary becomes tokenizer.json."""
    templates: Mapping[str, str] | None = None
    """Chat templates by name that lie where a tokenizer does not look for them."""


class JsonObject(BaseModel):
    """Any JSON object."""

    model_config = ConfigDict(frozen=True, extra="allow")


class _Quantized(JsonObject):
    quant_method: str | None = None


class _Inner(JsonObject):
    quantization_config: _Quantized | None = None


class _Config(JsonObject):
    max_position_embeddings: Count | None = None
    text_config: _Inner | None = None
    quantization_config: _Quantized | None = None
    is_encoder_decoder: bool = False


class _Adapter(JsonObject):
    base_model_name_or_path: str | None = None
    peft_type: str | None = None


class _TemplateFile(JsonObject):
    chat_template: str | None = None


class _Index(JsonObject):
    weight_map: dict[str, Annotated[str, StringConstraints(pattern=r"^[^/\\]+\.safetensors$")]]


class _Named(JsonObject):
    name: str
    template: str


class _Tokenizer(JsonObject):
    chat_template: str | list[_Named] | None = None


class _Recommended(JsonObject):
    auto: dict[Code, Number] = Field(default_factory=dict, max_length=64)


Read = TypeVar("Read", bound=JsonObject)


def check_name(name: str) -> None:
    """Raise NotAModelError for what cannot be a model's name."""
    if not NAME.fullmatch(name):
        raise NotAModelError(f"{name!r} is no model name; use letters, digits, '.', '_' and '-' (at most 96).")


def conversion(names: Collection[str], texts: Mapping[str, bytes], folders: Mapping[str, str]) -> Conversion | None:
    """Return what must become of a directory before `inspect` can take it, None where nothing need; NotAModelError.

    `folders` are the texts of TEMPLATE_FOLDERS by template name.
    """
    _refuse_others(names, texts)
    ggufs = sorted(name for name in names if name.lower().endswith(".gguf"))
    if ggufs and "config.json" not in names:
        if len(ggufs) > 1:
            raise NotAModelError(f"There are {len(ggufs)} GGUF files; give the path of one, as {ggufs[0]}.")
        return Conversion(gguf=ggufs[0])
    needed = Conversion(
        weights=WEIGHTS not in names and INDEX not in names and not {*PICKLES}.isdisjoint(names),
        text_part=read_as(_Config, "config.json", texts).text_config is not None,
        tokenizer="tokenizer.json" not in names and any(SLOW.fullmatch(name) for name in names),
        templates=_misplaced(texts, folders),
    )
    return None if needed == Conversion() else needed


def _refuse_others(names: Collection[str], texts: Mapping[str, bytes]) -> None:
    """Raise NotAModelError for what is complete in itself and yet no base model."""
    if ADAPTER in names and "config.json" not in names:
        adapter = read_as(_Adapter, ADAPTER, texts)
        base = shortened(96)(adapter.base_model_name_or_path or "a model that it does not name")
        raise NotAModelError(
            f"{ADAPTER} says that this is an adapter ({adapter.peft_type or 'of PEFT'}), not a base model; "
            f"merge it into its base or add that: {base}."
        )
    config = read_as(_Config, "config.json", texts)
    inner = config.text_config.quantization_config if config.text_config else None
    if (quantized := config.quantization_config or inner) is not None:
        method = shortened(40)(quantized.quant_method or "an unnamed method")
        raise NotAModelError(
            f"Its weights are quantised ({method}), which can be neither trained nor served exactly here; "
            "add the model that it was made of (or a GGUF file, whose weights are made whole again)."
        )
    if config.is_encoder_decoder:
        raise NotAModelError("It has an encoder and a decoder; Temper tunes causal language models.")


def _misplaced(texts: Mapping[str, bytes], folders: Mapping[str, str]) -> dict[str, str] | None:
    """Return all chat templates by name, where some lie in other files than those that every tokenizer reads."""
    elsewhere = read_as(_TemplateFile, TEMPLATE_JSON, texts).chat_template
    if not folders and (elsewhere is None or TEMPLATE in texts):
        return None
    said = read_as(_Tokenizer, "tokenizer_config.json", texts).chat_template or []
    found = {"default": said} if isinstance(said, str) else {each.name: each.template for each in said}
    found |= {"default": elsewhere} if elsewhere else {}
    return found | ({"default": _template_file(texts)} if TEMPLATE in texts else {}) | dict(folders)


def inspect(names: Collection[str], texts: Mapping[str, bytes]) -> InspectedBase:
    """Return what a directory of these file names and TEXTS is; raises NotAModelError."""
    for needed, what in NEEDED.items():
        if needed not in names:
            raise NotAModelError(f"{needed} ({what}) is missing; give a complete Hugging Face model directory.")
    weights = weight_files(names, texts)
    config, template = read_as(_Config, "config.json", texts), _template(texts)
    if template and not template.strip():
        raise NotAModelError("Its chat template is empty; take it out, or put the right one into chat_template.jinja.")
    read_as(JsonObject, "generation_config.json", texts)
    return InspectedBase(
        files={name: role for name in sorted(names) if (role := _role(name, weights))},
        template=template,
        tokens=_tokens(texts),
        context=_context(config),
        auto=read_as(_Recommended, "temper.json", texts).auto,
    )


def _context(config: _Config) -> int:
    """Return the tokens that a model reads, by whichever of its names its family gives that."""
    said = ((config.model_extra or {}).get(name) for name in CONTEXTS[1:])
    others = (value for value in said if isinstance(value, int) and 0 < value < 2**31)
    return config.max_position_embeddings or next(others, DEFAULT_CONTEXT)


def _role(name: str, weights: Collection[str]) -> Role | None:
    """Return what a file is for, or None for what is left behind."""
    if name in weights:
        return "weights"
    if name in ("config.json", "generation_config.json") or name.startswith(LICENCES):
        return "config"
    return "tokenizer" if name.startswith(TOKENIZER) and not name.endswith(".py") else None


def weight_files(names: Collection[str], texts: Mapping[str, bytes]) -> frozenset[str]:
    """Return the files that transformers loads the weights from, the index of several among them."""
    if WEIGHTS in names:
        return frozenset({WEIGHTS})
    if INDEX not in names:
        raise NotAModelError(
            f"There is neither {WEIGHTS} nor {INDEX}; give a Hugging Face model directory or a GGUF file."
        )
    shards = frozenset(read_as(_Index, INDEX, texts).weight_map.values())
    if missing := sorted(shards.difference(names)):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise NotAModelError(f"{missing[0]}{more}, which {INDEX} names, is missing; fetch the model again.")
    if not shards:
        raise NotAModelError(f"{INDEX} names no file of weights.")
    return shards | {INDEX}


def _template(texts: Mapping[str, bytes]) -> str:
    """Return the chat template that transformers uses: the file, else what tokenizer_config has; empty: it has none."""
    if TEMPLATE in texts:
        return _template_file(texts)
    found = read_as(_Tokenizer, "tokenizer_config.json", texts).chat_template or ""
    if isinstance(found, list):  # several named ones: the default one is what chats use
        named = {each.name: each.template for each in found}
        if named and "default" not in named:
            raise NotAModelError(f"None of its chat templates is named default: {shortened(80)(', '.join(named))}.")
        found = named.get("default", "")
    return found


def _template_file(texts: Mapping[str, bytes]) -> str:
    try:
        return texts[TEMPLATE].decode()
    except UnicodeDecodeError as error:
        raise NotAModelError(f"{TEMPLATE} is not UTF-8 text: {error.reason} at byte {error.start}.") from error


def _tokens(texts: Mapping[str, bytes]) -> dict[str, str]:
    """Return the special tokens by name; those that nobody has set are empty, as most templates take them."""
    said = {
        **(read_as(JsonObject, "special_tokens_map.json", texts).model_extra or {}),
        **(read_as(JsonObject, "tokenizer_config.json", texts).model_extra or {}),
    }
    found = {name: _content(value) for name, value in said.items() if name.endswith("_token")}
    return dict.fromkeys(TOKENS, "") | {name: token for name, token in found.items() if token is not None}


def _content(token: Any) -> str | None:
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None


def read_as(kind: type[Read], name: str, texts: Mapping[str, bytes]) -> Read:
    """Return a JSON file as one of the classes above, an empty one where it is missing; raises NotAModelError."""
    try:
        return kind.model_validate_json(texts.get(name, b"{}"))
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(each) for each in wrong["loc"])
        why = shortened(160)(f"{where and where + ': '}{wrong['msg']}")
        raise NotAModelError(f"{name} cannot be read: {why}.") from error
