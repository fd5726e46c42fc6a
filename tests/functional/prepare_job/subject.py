"""A template in preparation and in serving: what is trained of a chat, and what serving sends and reads back."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from starlette.requests import Request

from contracts.canonical import sha256
from contracts.manifest import ManifestRef
from contracts.wire.completions import Chat
from functions._shared.chat_template import ChatTemplate
from functions._shared.model_files import stop_ids
from functions.generate_text import answers
from functions.generate_text.batch import BatchLimits
from functions.generate_text.generation import Generation, Token
from functions.generate_text.models import ServedModel
from functions.generate_text.sampling import Sampling
from functions.prepare_job.core import Fail
from functions.prepare_job.tokenise import FailedError, Tokeniser
from functions.validate_file.core import check
from tests.functional.prepare_job.chats import Case
from tests.functional.prepare_job.official_tokenizer import CONTEXT, ends_of, save_tokenizer


@dataclass
class Run:
    """Tokens in a row that are trained on, and what stands before them."""

    before: list[int]
    ids: list[int]


def runs(ids: Sequence[int], mask: Sequence[int]) -> list[Run]:
    """Return the trained runs of one example."""
    found, start = [], 0
    for trained, group in itertools.groupby(mask):
        size = len(list(group))
        if trained:
            found.append(Run(list(ids[:start]), list(ids[start : start + size])))
        start += size
    return found


class Scripted:
    """In the engine's place: a model that says what it is told to say, and stops only where the engine would."""

    limits = BatchLimits()

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids
        self.prompt: list[int] = []

    def vocabulary(self, _base: str) -> int:
        return 2**20

    def submit(
        self, _base: str, _adapter: str | None, prompt: Sequence[int], sampling: Sampling, **_: Any
    ) -> Generation:
        self.prompt = list(prompt)
        generation = Generation(prompt, None, sampling, stream=True)
        for each in self.ids:
            generation.take(Token(each))
            if generation.finish:
                break
        generation.notify()
        return generation


class Subject:
    """A template with its tokenizer, in preparation and in serving."""

    def __init__(self, folder: Path, template: str, foreign: bool = False) -> None:
        save_tokenizer(folder, template, foreign)
        self.folder, self.ends = folder, ends_of(template, foreign)
        spec = {
            "model_dir": str(folder),
            "base_name": "base",
            "context": CONTEXT,
            "base_context": CONTEXT,
            "template_sha256": sha256(template.encode()),
            "overlong": "fail",
            "created": {},
            "day": None,
            "row_shapes": {"training_file": "chat"},
        }
        self.tokeniser = Tokeniser(spec)
        self.tokenizer = self.tokeniser.tokenizer
        self._models: dict[str, ServedModel] = {}
        self.model = self.served({})

    def served(self, switches: dict[str, Any]) -> ServedModel:
        """Return the model as serving has it, whose manifest names these switches of its template."""
        named = json.dumps(switches, sort_keys=True)
        if named not in self._models:  # what it finds out about the template takes most of a case's time
            self._models[named] = served(self.tokenizer, self.folder, switches)
        return self._models[named]

    def prepare(self, case: Case) -> list[list[Run]]:
        """Return the trained runs of every example of a row, as a job prepares it; raises FailedError."""
        row: dict[str, Any] = {"messages": case.messages} | ({"tools": case.tools} if case.tools else {})
        checked = check(json.loads(json.dumps(row)), 1, 1)
        if checked.errors:
            raise FailedError(Fail(checked.errors[0].code, checked.errors[0].message, "training_file"))
        path = self.folder / "rows.jsonl"
        path.write_bytes(checked.encoded + b"\n")
        tokens, found, start = self.tokeniser.file(path, "training_file"), [], 0
        self.model = self.served(json.loads(tokens.switches))
        for length in tokens.lengths:
            found.append(runs(tokens.ids[start : start + length], tokens.mask[start : start + length]))
            start += length
        return found

    def ask(self, case: Case, turn: int, says: list[int]) -> tuple[list[int], dict[str, Any]]:
        """Return the prompt that serving makes of the chat before a turn, and its choice when the model `says` that."""
        after = self.tokenizer("zqbeyond", add_special_tokens=False)["input_ids"]
        engine = Scripted([*says, *after])
        before = [{k: v for k, v in m.items() if k != "weight"} for m in case.messages[:turn]]
        asked = {"model": "m", "messages": before, "max_tokens": len(says) + len(after)}
        wanted = Chat.read(asked | ({"tools": case.tools} if case.tools else {}))
        reply = asyncio.run(
            answers.chat(cast("Any", engine), cast("Any", _Only(self.model)), _REF, wanted, Request(_SCOPE, _waiting))
        )
        return engine.prompt, json.loads(bytes(reply.body))["choices"][0]


def served(tokenizer: Any, folder: Path, switches: dict[str, Any]) -> ServedModel:
    """Return a model without weights."""
    chat = ChatTemplate(tokenizer, stop_ids(folder, tokenizer))
    return ServedModel("0" * 64, "base", None, tokenizer, CONTEXT, chat, switches=switches)


_REF = ManifestRef(key="k", sha256="0" * 64)
_SCOPE = {"type": "http", "headers": []}


async def _waiting() -> Any:
    await asyncio.Event().wait()


class _Only:
    """In the place of the models in memory: this one."""

    def __init__(self, model: ServedModel) -> None:
        self._model = model

    @asynccontextmanager
    async def use(self, _ref: ManifestRef) -> Any:
        yield self._model
