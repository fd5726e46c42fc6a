"""Tokenise a job's files and measure how long it will train: `python -m functions.prepare_job.tokenise spec.json`.

The spec names `model_dir`, `base_name`, `context`, `template_sha256`, `overlong`, `created`, `base`, `tuning`,
`seed`, `device`, `threads`, `day`, `folder` (where to write), and `train` and `valid` (canonical rows; may be null).
Written are `train.safetensors`, `valid.safetensors`, `probe.json` and `found.json`: {"failed": {code, message, param}},
or {train, valid, chat_template_kwargs, shape, measured}.
"""

from __future__ import annotations

import json
import os
import sys
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from contracts.canonical import sha256
from contracts.events.jobs import JobCreated
from contracts.events.models import ModelRegistered
from functions._shared.model_files import stop_ids
from functions._shared.plain_prompt import prompt_ids
from functions.prepare_job.core import MIN_ROWS, Fail, too_few
from functions.prepare_job.labels import Span, UnlabelledError, cut_front, token_spans
from functions.prepare_job.plan import choose, histogram
from functions.prepare_job.render import RenderedExample, Template

BATCH = 256
CUTS = 8
"""Tries to make a row fit: fewer characters are not always fewer tokens."""
TAILS = 4096
"""Ends of prompts whose tokens are remembered: most prompts of a file end alike."""


class FailedError(Exception):
    """The job cannot be prepared."""

    def __init__(self, fail: Fail) -> None:
        super().__init__(fail.message)
        self.fail = fail


@dataclass(frozen=True, slots=True)
class Labelled:
    """An example's tokens, and which of them are trained on."""

    source: RenderedExample
    ids: list[int]
    mask: bytearray


@dataclass
class Tokens:
    """The tokens of one file."""

    ids: array[int] = field(default_factory=lambda: array("i"))
    mask: bytearray = field(default_factory=bytearray)
    lengths: list[int] = field(default_factory=list)
    groups: array[int] = field(default_factory=lambda: array("i"))
    """The group of each example: those with the same number are variants of one another."""
    named: dict[tuple[str, int], int] = field(default_factory=dict)
    """`variant_of` and an example's place in its row → its group."""
    rows: int = 0
    dropped: int = 0
    truncated: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    """How many examples have which switches of the template, as JSON."""
    probes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The first prompt with each of them."""

    groups_made: int = 0

    def add(self, examples: Sequence[Labelled], variant_of: str | None) -> None:
        """Append a row."""
        self.rows += 1
        for place, example in enumerate(examples):
            self.ids.extend(example.ids)
            self.mask += example.mask
            self.lengths.append(len(example.ids))
            new = self.groups_made
            group = new if variant_of is None else self.named.setdefault((variant_of, place), new)
            self.groups.append(group)
            self.groups_made += group == new
            key = json.dumps(example.source.switches, sort_keys=True)
            self.asked[key] += 1
            if key not in self.probes:
                prompt = list(example.ids[: example.mask.find(1)])
                source = example.source
                self.probes[key] = {"messages": source.messages, "tools": source.tools, "prompt_ids": prompt}

    @property
    def switches(self) -> str:
        """The switches of most examples: with them the tuned model is asked."""
        return self.asked.most_common(1)[0][0]

    def save(self, path: Path) -> None:
        """Write the tokens file: `input_ids`, `labels_mask`, `offsets`, `groups`."""
        offsets = np.concatenate(([0], np.cumsum(self.lengths, dtype=np.int64))).astype(np.int64)
        tensors = {
            "input_ids": np.frombuffer(self.ids, dtype=np.int32),
            "labels_mask": np.frombuffer(self.mask, dtype=np.uint8),
            "offsets": offsets,
            "groups": np.frombuffer(self.groups, dtype=np.int32),
        }
        save_file(tensors, path)

    def counts(self) -> dict[str, Any]:
        """Return what the plan says of this file."""
        return {
            "rows": self.rows,
            "examples": len(self.lengths),
            "rows_per_epoch": self.groups_made,
            "tokens": len(self.ids),
            "label_tokens": sum(self.mask),
            "longest": max(self.lengths),
            "dropped": self.dropped,
            "truncated": self.truncated,
            "histogram": histogram(self.lengths).model_dump(mode="json"),
        }


class Tokeniser:
    """Rows to tokens and labels, by the model's own tokenizer and template."""

    def __init__(self, spec: dict[str, Any]) -> None:
        from transformers import AutoTokenizer

        self.context, self.overlong, self.base = spec["context"], spec["overlong"], spec["base_name"]
        own = self.context == spec["base_context"]
        self.limit = f"the context of {self.base}" if own else "the job's `context_length`"
        folder = Path(spec["model_dir"])
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        asked = spec["created"].get("chat_template_kwargs")
        self.template = Template(self.tokenizer, stop_ids(folder, self.tokenizer), asked, spec["day"])
        self._added = frozenset(self.tokenizer.get_added_vocab().values())
        self._tails: dict[str, list[int]] = {}
        self._shapes: dict[str, str] = spec["row_shapes"]
        self._check(spec["template_sha256"])

    def _check(self, template_sha256: str) -> None:
        problem = None
        if sha256(self.template.source.encode()) != template_sha256:
            problem = ("template_mismatch", "has another chat template than it was registered with")
        elif not self.tokenizer.is_fast:
            problem = ("tokenizer_unsupported", "has no fast tokenizer (tokenizer.json), which labels need")
        if problem:
            raise FailedError(Fail(problem[0], f"The base model {self.base} {problem[1]}.", "model"))

    def file(self, path: Path, param: str) -> Tokens:
        """Return the tokens of all rows of a file; raises FailedError naming the first bad row."""
        if not self.template.source and self._shapes[param] == "chat":
            text = f"The base model {self.base} has no chat template, so chats cannot be trained on. Use rows of "
            text += '"prompt" and "completion", or another base.'
            raise FailedError(Fail("no_chat_template", text, param))
        tokens, number = Tokens(), 0
        bad: list[tuple[str, str]] = []
        for rows in _batches(path):
            shown: list[tuple[int, dict[str, Any], tuple[RenderedExample, ...]]] = []
            for row in rows:
                number += 1
                try:
                    shown.append((number, row, self.template.examples(row)))
                except UnlabelledError as error:
                    bad.append((error.code, f"Example {number} (line {row['line']}): {error}"))
            encoded = iter(self._encode([each.text for _, _, examples in shown for each in examples]))
            for place, row, examples in shown:
                labelled = [made for each in examples for made in self._labelled(each, *next(encoded))]
                try:
                    self._row(tokens, row, labelled)
                except UnlabelledError as error:
                    bad.append((error.code, f"Example {place} (line {row['line']}): {error}"))
        if bad:
            noun = param.removesuffix("_file")
            more = f" ({len(bad) - 1} more rows cannot be used either)" if len(bad) > 1 else ""
            text = f"The job failed due to an invalid {noun} file. {bad[0][1]}{more}"
            raise FailedError(Fail(bad[0][0], text, param))
        return tokens

    def preview(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        """Return text, trained spans in characters and tokens of each example of a row; raises UnlabelledError."""
        labelled: list[Labelled] = []
        shown: list[tuple[str, Sequence[Span]]] = []
        for example in self.template.examples(row):
            made = self._labelled(example, *self._encode([example.text])[0])
            labelled += made
            whole = len(made) == len(example.trained) == 1 or len(made) < len(example.trained)
            shown += (
                [(example.text, example.trained)] if whole else [(example.text[: s[1]], [s]) for s in example.trained]
            )
        self._row(Tokens(), row, labelled)
        return [
            {"text": text, "trained": [list(span) for span in spans], "tokens": len(each.ids)}
            for (text, spans), each in zip(shown, labelled, strict=True)
        ]

    def _encode(self, texts: list[str]) -> list[tuple[list[int], list[Span]]]:
        """Return ids and their places, as serving encodes a rendered prompt; without a length nothing is cut."""
        if not texts:
            return []
        found = self.tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, truncation=False)
        return list(zip(found["input_ids"], found["offset_mapping"], strict=True))

    def _ids(self, text: str) -> list[int]:
        return self._encode([text])[0][0] if text else []

    def _labelled(self, example: RenderedExample, ids: list[int], offsets: list[Span]) -> list[Labelled]:
        """Return an example with its labels: its prompts have the tokens that serving makes of them alone.

        Where a token reaches from a prompt into its answer, both are encoded apart, each answer for itself.
        """
        if not self.template.source:
            ((start, end),) = example.trained
            prompt, answer = prompt_ids(self.tokenizer, example.text[:start]), self._ids(example.text[start:end])
            return [Labelled(example, prompt + answer, bytearray(len(prompt)) + b"\1" * len(answer))]
        spans = token_spans(offsets, example.trained)
        if spans and all(
            self._is_prompt(example.text[:start], ids[:first], offsets)
            for (start, _), (first, _) in zip(example.trained, spans, strict=True)
        ):
            mask = bytearray(len(ids))
            for first, behind in spans:
                mask[first:behind] = b"\1" * (behind - first)
            return [Labelled(example, ids, mask)]
        made = []
        for start, end in example.trained:
            prompt, answer = self._ids(example.text[:start]), self._ids(example.text[start:end])
            mask = bytearray(len(prompt)) + b"\1" * len(answer)
            made.append(Labelled(example, prompt + answer, mask))
        return made

    def _is_prompt(self, text: str, ids: list[int], offsets: list[Span]) -> bool:
        """Whether the ids are those of a prompt alone; nothing before its last added token depends on what follows."""
        last = next((at for at in range(len(ids) - 1, -1, -1) if ids[at] in self._added), None)
        if last is None:
            return self._ids(text) == ids
        tail = text[offsets[last][0] :]
        if tail not in self._tails:
            if len(self._tails) >= TAILS:
                self._tails.clear()
            self._tails[tail] = self._ids(tail)
        return self._tails[tail] == ids[last:]

    def _row(self, tokens: Tokens, row: dict[str, Any], examples: list[Labelled]) -> None:
        longest = max(len(each.ids) for each in examples)
        if longest > self.context:
            if self.overlong == "fail":
                raise UnlabelledError(
                    "row_too_long",
                    f"it has {longest} tokens, but {self.limit} is {self.context}. Shorten it, or "
                    "create the job with `overlong` set to `drop` or `truncate`.",
                )
            shortened = self._shorten(row, longest) if self.overlong == "truncate" else None
            if shortened is None:
                tokens.dropped += 1
                return
            tokens.truncated += 1
            examples = shortened
        tokens.add(examples, row.get("variant_of"))

    def _shorten(self, row: dict[str, Any], longest: int) -> list[Labelled] | None:
        """Cut the front of the longest message of the first prompt until the row fits; None when it cannot."""
        first = next(at for at, each in enumerate(row["messages"]) if _is_trained(each))
        prompt = [
            index
            for index, message in enumerate(row["messages"][:first])
            if message["role"] != "assistant" and message.get("content")
        ]
        if not prompt:
            return None
        index = max(prompt, key=lambda each: len(row["messages"][each]["content"]))
        for _ in range(CUTS):
            content = row["messages"][index]["content"].strip()
            shorter = cut_front(content, self._encode([content])[0][1], longest - self.context)
            if shorter is None:
                return None
            messages = list(row["messages"])
            messages[index] = {**messages[index], "content": shorter}
            row = {**row, "messages": messages}
            examples = self.template.examples(row)
            encoded = self._encode([each.text for each in examples])
            made = [
                made for each, found in zip(examples, encoded, strict=True) for made in self._labelled(each, *found)
            ]
            longest = max(len(each.ids) for each in made)
            if longest <= self.context:
                return made
        return None


def _is_trained(message: dict[str, Any]) -> bool:
    return message["role"] == "assistant" and message.get("weight") != 0


def _batches(path: Path) -> Iterator[list[dict[str, Any]]]:
    batch = []
    with path.open("rb") as lines:
        for line in lines:
            batch.append(json.loads(line))
            if len(batch) == BATCH:
                yield batch
                batch = []
    if batch:
        yield batch


def prepare(spec: dict[str, Any]) -> dict[str, Any]:
    """Write the tokens files and the probe; return what was counted and measured."""
    folder = Path(spec["folder"])
    tokeniser = Tokeniser(spec)
    train = tokeniser.file(Path(spec["train"]), "training_file")
    if train.rows < MIN_ROWS:
        raise FailedError(too_few(train.rows, f" within the context of {spec['context']} tokens"))
    train.save(folder / "train.safetensors")
    valid = None
    if spec["valid"]:
        valid = tokeniser.file(Path(spec["valid"]), "validation_file")
        if not valid.lengths:
            text = f"No row of the validation file is within the context of {spec['context']} tokens."
            raise FailedError(Fail("invalid_validation_file", text, "validation_file"))
        valid.save(folder / "valid.safetensors")
    # not sorted: a template shows the keys of tools and arguments in the row's own order
    probe = train.probes[train.switches]
    (folder / "probe.json").write_text(json.dumps(probe, ensure_ascii=False), encoding="utf-8")

    from functions.prepare_job.measure import measure, shape_of

    shape = shape_of(spec)
    created, base = JobCreated.model_validate(spec["created"]), ModelRegistered.model_validate(spec["base"])
    choice = choose(created, train.groups_made, base)
    measured = measure({**spec, "n_epochs": choice.n_epochs, "batch_size": choice.batch_size}, shape, train, valid)
    return {
        "train": train.counts(),
        "valid": valid.counts() if valid else None,
        "chat_template_kwargs": json.loads(train.switches),
        "row_shape": spec["row_shapes"]["training_file"],
        "shape": asdict(shape),
        "measured": measured,
    }


def main(spec_path: str) -> None:
    """Do what the spec says."""
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
    # spinning OpenMP threads are 20 times slower on shared cores
    for name, value in (("KMP_BLOCKTIME", "0"), ("OMP_WAIT_POLICY", "PASSIVE")):
        os.environ.setdefault(name, value)
    spec = json.loads(Path(spec_path).read_text())
    try:
        found = prepare(spec)
    except FailedError as error:
        found = {"failed": asdict(error.fail)}
    (Path(spec["folder"]) / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
