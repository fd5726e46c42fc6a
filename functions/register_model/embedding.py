"""What a model of embeddings is, and what is refused as one: decided on the texts of a sentence-transformers folder."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field, RootModel, ValidationError

from contracts.manifest import Role
from functions.register_model.core import (
    ADAPTER,
    INDEX,
    LICENCES,
    PICKLES,
    TOKENIZER,
    JsonObject,
    NotAModelError,
    read_as,
    weight_files,
)

MODULES, PROMPTS = "modules.json", "config_sentence_transformers.json"
MAX_TEXT = 2**21
"""Bytes of a JSON file that is read to decide."""
MAX_MODULES = 16
_CLASS = re.compile(r"sentence_transformers\.[\w.]*\b(Transformer|Pooling|Normalize|Dense|Dropout|LayerNorm)")
_ACTIVATION = re.compile(r"torch\.nn\.modules\.(activation|linear)\.\w+")
_TRANSFORMER = re.compile(r"sentence_[\w-]+_config\.json")
_HARMLESS = frozenset({"dtype", "torch_dtype", "attn_implementation", "padding_side", "model_max_length", "use_fast"})
"""What a Transformer may want of transformers; anything else may load or do what nobody has looked at."""
_Width = Annotated[int, Field(ge=1, le=2**16)]
_Mode = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]


@dataclass(frozen=True, slots=True)
class EmbeddingModule:
    """One step from text to vector."""

    kind: str
    path: str
    """Its folder; empty: that of the model."""

    def file(self, name: str) -> str:
        """Return the path of one of its files."""
        return f"{self.path}/{name}" if self.path else name


class _Module(JsonObject):
    path: str = Field(max_length=128)
    name: str = Field(max_length=64)
    type: str = Field(max_length=256)


class _Modules(RootModel[Annotated[list[_Module], Field(min_length=2, max_length=MAX_MODULES)]]):
    pass


class _Prompts(JsonObject):
    prompts: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=4096)] | None] = Field(
        default_factory=dict, max_length=64
    )
    default_prompt_name: str | None = None
    truncate_dim: _Width | None = None


class _Text(JsonObject):
    method: Literal["forward"]
    method_output_name: Literal["last_hidden_state"]


class _Modalities(JsonObject):
    text: _Text
    message: None = None


class _Transformer(JsonObject):
    max_seq_length: Annotated[int, Field(ge=2, le=2**21)] | None = None
    transformer_task: Literal["feature-extraction"] = "feature-extraction"
    modality_config: _Modalities | None = None
    module_output_name: Literal["token_embeddings"] = "token_embeddings"
    tokenizer_name_or_path: None = None
    query_expansion: None = None
    processing_kwargs: dict[str, Any] = Field(default_factory=dict, max_length=0)


class _Pooling(JsonObject):
    pooling_mode: _Mode | list[_Mode] = "mean"


class _Dense(JsonObject):
    in_features: _Width
    out_features: _Width
    activation_function: Annotated[str, Field(pattern=_ACTIVATION)] = "torch.nn.modules.activation.Tanh"


_CONFIGS: Mapping[str, type[JsonObject]] = {"Pooling": _Pooling, "Dense": _Dense}
_WITH_WEIGHTS = frozenset({"Dense", "LayerNorm"})


def is_read(name: str) -> bool:
    """Whether a file of this name is read to decide."""
    return name in (MODULES, PROMPTS, INDEX, "config.json") or _TRANSFORMER.fullmatch(name) is not None


def modules_of(text: bytes) -> list[EmbeddingModule]:
    """Return what modules.json names; raises NotAModelError for foreign code and paths that lead elsewhere."""
    try:
        said = _Modules.model_validate_json(text).root
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(each) for each in wrong["loc"])
        raise NotAModelError(f"{MODULES} cannot be read: {where}: {wrong['msg']}.") from error
    found = []
    for each in said:
        known = _CLASS.fullmatch(each.type)
        if known is None:
            raise NotAModelError(
                f"{MODULES} names {each.type[:80]!r}; Transformer, Pooling, Normalize, Dense, Dropout and LayerNorm of "
                "sentence-transformers are served, and code that comes with a model is not run."
            )
        parts = PurePosixPath(each.path).parts
        if each.path.startswith("/") or ".." in parts or "\\" in each.path or len(parts) > 1:
            raise NotAModelError(f"{MODULES} names the folder {each.path[:80]!r}, which is not one of the model's own.")
        found.append(EmbeddingModule(known[1], each.path))
    kinds = [each.kind for each in found]
    if kinds[0] != "Transformer" or kinds.count("Transformer") > 1 or "Pooling" not in kinds:
        raise NotAModelError(f"{MODULES} must begin with one Transformer, with a Pooling behind it.")
    if len({each.name for each in said}) < len(said):
        raise NotAModelError(f"{MODULES} gives two modules the same name.")
    return found


def files_of(
    modules: Collection[EmbeddingModule], names: Collection[str], texts: Mapping[str, bytes]
) -> dict[str, Role]:
    """Return path → what it is for, of a folder of these paths and JSON texts; raises NotAModelError."""
    prompts = read_as(_Prompts, PROMPTS, texts)
    if prompts.default_prompt_name is not None and prompts.default_prompt_name not in prompts.prompts:
        raise NotAModelError(
            f"{PROMPTS}: the default prompt {prompts.default_prompt_name[:64]!r} is none of its prompts."
        )
    files: dict[str, Role] = {MODULES: "config"}
    files |= {name: "config" for name in names if name == PROMPTS or name.startswith(LICENCES)}
    for module in modules:
        if module.kind == "Transformer":
            files |= _transformer(module, names, texts)
            continue
        config, weights = module.file("config.json"), module.file("model.safetensors")
        if config in names:
            read_as(_CONFIGS.get(module.kind, JsonObject), config, texts)
            files[config] = "config"
        elif module.kind != "Normalize":
            raise NotAModelError(
                f"{config} (of {module.kind}) is missing; give a complete sentence-transformers folder."
            )
        if module.kind in _WITH_WEIGHTS:
            if weights not in names:
                raise _unsafe(weights)
            files[weights] = "weights"
    return {name: files[name] for name in sorted(files)}


def _transformer(module: EmbeddingModule, names: Collection[str], texts: Mapping[str, bytes]) -> dict[str, Role]:
    """Return the files of the Transformer."""
    prefix = module.file("")
    own = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    own = {name for name in own if "/" not in name}
    read = {name: texts[prefix + name] for name in own if prefix + name in texts}
    for needed, what in {"config.json": "the architecture", "tokenizer.json": "the tokenizer"}.items():
        if needed not in own:
            raise NotAModelError(f"{prefix}{needed} ({what}) is missing; give a complete sentence-transformers folder.")
    if ADAPTER in own:
        raise NotAModelError(f"{prefix}{ADAPTER} says that this is an adapter; merge it into its base and save that.")
    if (read_as(JsonObject, "config.json", read).model_extra or {}).get("quantization_config"):
        raise NotAModelError(f"The weights of {prefix}config.json are quantised; add the model that it was made of.")
    if not {"model.safetensors", INDEX} & own and {*PICKLES} & own:
        raise _unsafe(f"{prefix}model.safetensors")
    weights = weight_files(own, read)
    settings = sorted(name for name in own if _TRANSFORMER.fullmatch(name))
    for name in settings:
        _check_settings(name, read)
    tokenizer = {name for name in own if name.startswith(TOKENIZER) and name.endswith((".json", ".txt", ".model"))}
    roles: dict[str, Role] = dict.fromkeys(tokenizer, "tokenizer")
    roles |= dict.fromkeys(weights, "weights")
    roles |= dict.fromkeys(settings, "config")
    roles["config.json"] = "config"
    return {prefix + name: role for name, role in roles.items()}


def _check_settings(name: str, texts: Mapping[str, bytes]) -> None:
    said = read_as(_Transformer, name, texts).model_extra or {}
    for part in ("model_args", "model_kwargs", "tokenizer_args", "processor_kwargs", "config_args", "config_kwargs"):
        odd = sorted({*(said.get(part) or {})} - _HARMLESS - {"trust_remote_code"})
        if odd:
            raise NotAModelError(f"{name}: {part} asks for {odd[0][:64]!r}, which is not served; take it out.")


def _unsafe(path: str) -> NotAModelError:
    return NotAModelError(
        f"{path} is missing: only weights in safetensors are loaded. Save it anew where it is trusted: "
        "`SentenceTransformer(DIR).save_pretrained(NEW)`."
    )
