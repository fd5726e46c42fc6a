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
TEXTS = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    INDEX,
    TEMPLATE,
    "temper.json",
)
"""The files that are read to decide; each may be missing here."""
NEEDED = {"config.json": "the architecture", "tokenizer.json": "the tokenizer"}
TOKENIZER = ("tokenizer", "special_tokens", "vocab", "merges", "added_tokens", "chat_template")
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


class _Object(BaseModel):
    """Any JSON object."""

    model_config = ConfigDict(frozen=True, extra="allow")


class _Config(_Object):
    max_position_embeddings: Count | None = None


class _Index(_Object):
    weight_map: dict[str, Annotated[str, StringConstraints(pattern=r"^[^/\\]+\.safetensors$")]]


class _Named(_Object):
    name: str
    template: str


class _Tokenizer(_Object):
    chat_template: str | list[_Named] | None = None


class _Recommended(_Object):
    auto: dict[Code, Number] = Field(default_factory=dict, max_length=64)


Read = TypeVar("Read", bound=_Object)


def check_name(name: str) -> None:
    """Raise NotAModelError for what cannot be a model's name."""
    if not NAME.fullmatch(name):
        raise NotAModelError(f"{name!r} is no model name; use letters, digits, '.', '_' and '-' (at most 96).")


def inspect(names: Collection[str], texts: Mapping[str, bytes]) -> InspectedBase:
    """Return what a directory of these file names and TEXTS is; raises NotAModelError."""
    for needed, what in NEEDED.items():
        if needed not in names:
            raise NotAModelError(f"{needed} ({what}) is missing; give a complete Hugging Face model directory.")
    weights = _weights(names, texts)
    config = _read(_Config, "config.json", texts)
    _read(_Object, "generation_config.json", texts)
    return InspectedBase(
        files={name: role for name in sorted(names) if (role := _role(name, weights))},
        template=_template(texts),
        tokens=_tokens(texts),
        context=config.max_position_embeddings or DEFAULT_CONTEXT,
        auto=_read(_Recommended, "temper.json", texts).auto,
    )


def _role(name: str, weights: Collection[str]) -> Role | None:
    """Return what a file is for, or None for what is left behind."""
    if name in weights:
        return "weights"
    if name in ("config.json", "generation_config.json"):
        return "config"
    return "tokenizer" if name.startswith(TOKENIZER) and not name.endswith(".py") else None


def _weights(names: Collection[str], texts: Mapping[str, bytes]) -> frozenset[str]:
    """Return the files that transformers loads the weights from, the index of several among them."""
    if WEIGHTS in names:
        return frozenset({WEIGHTS})
    if INDEX not in names:
        raise NotAModelError(
            f"There is neither {WEIGHTS} nor {INDEX}; pickled weights are refused, convert them to safetensors first."
        )
    shards = frozenset(_read(_Index, INDEX, texts).weight_map.values())
    if missing := sorted(shards.difference(names)):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise NotAModelError(f"{missing[0]}{more}, which {INDEX} names, is missing; fetch the model again.")
    if not shards:
        raise NotAModelError(f"{INDEX} names no file of weights.")
    return shards | {INDEX}


def _template(texts: Mapping[str, bytes]) -> str:
    """Return the chat template that transformers uses: the file, else what tokenizer_config.json has."""
    if TEMPLATE in texts:
        try:
            template = texts[TEMPLATE].decode()
        except UnicodeDecodeError as error:
            raise NotAModelError(f"{TEMPLATE} is not UTF-8 text: {error.reason} at byte {error.start}.") from error
    else:
        found = _read(_Tokenizer, "tokenizer_config.json", texts).chat_template or ""
        if isinstance(found, list):  # several named ones: the default one is what chats use
            found = next((each.template for each in found if each.name == "default"), "")
        template = found
    if not template.strip():
        raise NotAModelError(
            f"There is no chat template, neither {TEMPLATE} nor a default one in tokenizer_config.json; "
            "Temper tunes chat models."
        )
    return template


def _tokens(texts: Mapping[str, bytes]) -> dict[str, str]:
    """Return the special tokens by name; those that nobody has set are empty, as most templates take them."""
    said = {
        **(_read(_Object, "special_tokens_map.json", texts).model_extra or {}),
        **(_read(_Object, "tokenizer_config.json", texts).model_extra or {}),
    }
    found = {name: _content(value) for name, value in said.items() if name.endswith("_token")}
    return dict.fromkeys(TOKENS, "") | {name: token for name, token in found.items() if token is not None}


def _content(token: Any) -> str | None:
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None


def _read(kind: type[Read], name: str, texts: Mapping[str, bytes]) -> Read:
    """Return a JSON file as one of the classes above, an empty one where it is missing; raises NotAModelError."""
    try:
        return kind.model_validate_json(texts.get(name, b"{}"))
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(each) for each in wrong["loc"])
        why = shortened(160)(f"{where and where + ': '}{wrong['msg']}")
        raise NotAModelError(f"{name} cannot be read: {why}.") from error
