"""What a model is made of; the SHA-256 of a manifest is the model's identity."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.bounds import Hash, Key, Switches
from contracts.canonical import canonical, sha256

RowShape = Literal["chat", "prompt_completion"]
Role = Literal["weights", "config", "tokenizer", "resume"]


class ManifestRef(BaseModel):
    """Where a manifest lies and what it hashes to."""

    model_config = ConfigDict(frozen=True)

    key: Key
    sha256: Hash


class ManifestFile(BaseModel):
    """One file of a model or checkpoint."""

    model_config = ConfigDict(frozen=True)

    path: str
    """Relative path inside the model's directory."""
    key: str
    """Blob key."""
    sha256: str
    bytes: int
    role: Role
    """`resume` files are for going on with training and are not fetched for serving."""


class Manifest(BaseModel):
    """A model of any kind, as files pinned by hash; serves both resume and calling."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["base", "adapter", "full", "embedding"]
    base: ManifestRef | None = None
    """The base's manifest, for an adapter or a full fine-tune."""
    files: tuple[ManifestFile, ...]
    template_sha256: str
    """SHA-256 of the chat template's text."""
    context: int
    """Longest sequence in tokens."""
    step: int = 0
    """Training step that it was taken at."""
    chat_template_kwargs: Switches = Field(default_factory=dict)
    """Variables of the chat template with which the model is asked, unless a request says others."""

    row_shape: RowShape = "chat"
    """What it was trained on; of prompts with completions, /v1/completions shows a prompt as training did."""

    def encoded(self) -> bytes:
        """Return the canonical bytes that are stored and hashed (RFC 8785)."""
        said = self.model_dump(mode="json")
        if not self.chat_template_kwargs:
            del said["chat_template_kwargs"]  # a manifest of before is named as before
        if self.row_shape == "chat":
            del said["row_shape"]
        return canonical(said)

    def digest(self) -> str:
        """Return the SHA-256 that names this model."""
        return sha256(self.encoded())
