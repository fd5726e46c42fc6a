"""Tokenise a job's files and measure how long it will train: `python -m functions.prepare_job.tokenise spec.json`.

The spec names `model_dir`, `base_name`, `context`, `template_sha256`, `overlong`, `created`, `base`, `tuning`,
`seed`, `device`, `threads`, `folder` (where to write), and `train` and `valid` (canonical rows; valid may be null).
Written are `train.safetensors`, `valid.safetensors`, `probe.json` and `found.json`: {"failed": {code, message, param}},
or {train, valid, shape, measured}.
"""

from __future__ import annotations

import json
import os
import sys
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from contracts.canonical import sha256
from contracts.events.jobs import JobCreated
from contracts.events.models import ModelRegistered
from contracts.wire.chat import plain
from functions.prepare_job.core import MIN_ROWS, Fail, too_few
from functions.prepare_job.labels import UnlabelledError, cut_front, label_mask
from functions.prepare_job.plan import choose, histogram

BATCH = 256
CUTS = 8
"""Tries to make a row fit: fewer characters are not always fewer tokens."""


class FailedError(Exception):
    """The job cannot be prepared."""

    def __init__(self, fail: Fail) -> None:
        super().__init__(fail.message)
        self.fail = fail


@dataclass
class Tokens:
    """The tokens of one file."""

    ids: array[int] = field(default_factory=lambda: array("i"))
    mask: bytearray = field(default_factory=bytearray)
    lengths: list[int] = field(default_factory=list)
    groups: array[int] = field(default_factory=lambda: array("i"))
    """The group of each row: those with the same number are variants of one row."""
    named: dict[str, int] = field(default_factory=dict)
    """`variant_of` → its number."""
    dropped: int = 0
    truncated: int = 0
    probe: dict[str, Any] | None = None

    groups_made: int = 0

    def add(self, ids: list[int], mask: bytearray, variant_of: str | None) -> None:
        """Append a row."""
        self.ids.extend(ids)
        self.mask += mask
        self.lengths.append(len(ids))
        group = self.groups_made if variant_of is None else self.named.setdefault(variant_of, self.groups_made)
        self.groups.append(group)
        self.groups_made += group == self.groups_made

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
            "rows": len(self.lengths),
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

        from functions.prepare_job.render import Template

        self.context, self.overlong, self.base = spec["context"], spec["overlong"], spec["base_name"]
        own = self.context == spec["base_context"]
        self.limit = f"the context of {self.base}" if own else "the job's `context_length`"
        folder = Path(spec["model_dir"])
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        self.template = Template(self.tokenizer)
        self.stops = _stops(folder, self.tokenizer)
        self._check(spec["template_sha256"])

    def _check(self, template_sha256: str) -> None:
        problem = None
        if not self.template.source:
            problem = ("no_chat_template", "has no chat template, so chats cannot be trained on")
        elif sha256(self.template.source.encode()) != template_sha256:
            problem = ("template_mismatch", "has another chat template than it was registered with")
        elif not self.tokenizer.is_fast:
            problem = ("tokenizer_unsupported", "has no fast tokenizer (tokenizer.json), which labels need")
        elif not self.stops:
            problem = ("no_end_of_turn", "names no eos_token_id, so it could never stop")
        if problem:
            raise FailedError(Fail(problem[0], f"The base model {self.base} {problem[1]}.", "model"))

    def file(self, path: Path, param: str) -> Tokens:
        """Return the tokens of all rows of a file; raises FailedError naming the first bad row."""
        tokens, number = Tokens(), 0
        bad: list[tuple[str, str]] = []
        for rows in _batches(path):
            texts = []
            for row in rows:
                number += 1
                try:
                    texts.append((number, row, self.template.render(row)))
                except UnlabelledError as error:
                    bad.append((error.code, f"Example {number} (line {row['line']}): {error}"))
            if not texts:
                continue
            encoded = self._encode([rendered.text for _, _, rendered in texts])
            for (place, row, rendered), ids, offsets in zip(texts, *encoded, strict=True):
                try:
                    self._row(tokens, row, rendered, ids, offsets)
                except UnlabelledError as error:
                    bad.append((error.code, f"Example {place} (line {row['line']}): {error}"))
        if bad:
            noun = param.removesuffix("_file")
            more = f" ({len(bad) - 1} more rows cannot be used either)" if len(bad) > 1 else ""
            text = f"The job failed due to an invalid {noun} file. {bad[0][1]}{more}"
            raise FailedError(Fail(bad[0][0], text, param))
        return tokens

    def _encode(self, texts: list[str]) -> tuple[list[list[int]], list[list[tuple[int, int]]]]:
        # As serving encodes a rendered prompt; no length is given, so nothing is cut here.
        found = self.tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, truncation=False)
        return found["input_ids"], found["offset_mapping"]

    def _row(self, tokens: Tokens, row: dict[str, Any], rendered: Any, ids: list[int], offsets: Any) -> None:
        if len(ids) > self.context:
            if self.overlong == "fail":
                raise UnlabelledError(
                    "row_too_long",
                    f"it has {len(ids)} tokens, but {self.limit} is {self.context}. Shorten it, or "
                    "create the job with `overlong` set to `drop` or `truncate`.",
                )
            fitted = self._shorten(row, rendered, ids, offsets) if self.overlong == "truncate" else None
            if fitted is None:
                tokens.dropped += 1
                return
            tokens.truncated += 1
            rendered, ids, offsets = fitted
        tokens.add(ids, label_mask(ids, offsets, rendered.spans, self.stops), row.get("variant_of"))
        if tokens.probe is None:
            tokens.probe = self._probe(rendered, ids)

    def _shorten(self, row: dict[str, Any], rendered: Any, ids: list[int], offsets: Any) -> Any:
        """Cut the front of the longest message of the first prompt until the row fits; None when it cannot."""
        prompt = [
            index
            for index, message in enumerate(row["messages"][: rendered.first_trained])
            if message["role"] != "assistant" and message.get("content")
        ]
        if not prompt:
            return None
        index = max(prompt, key=lambda each: len(row["messages"][each]["content"]))
        for _ in range(CUTS):
            content = row["messages"][index]["content"].strip()
            shorter = cut_front(
                content, rendered.text.rfind(content, 0, rendered.spans[0][0]), offsets, len(ids) - self.context
            )
            if shorter is None:
                return None
            messages = list(row["messages"])
            messages[index] = {**messages[index], "content": shorter}
            row = {**row, "messages": messages}
            rendered = self.template.render(row)
            encoded = self._encode([rendered.text])
            ids, offsets = encoded[0][0], encoded[1][0]
            if len(ids) <= self.context:
                return rendered, ids, offsets
        return None

    def _probe(self, rendered: Any, ids: list[int]) -> dict[str, Any]:
        messages = rendered.messages[: rendered.first_trained]
        text = self.template.text(plain(messages), rendered.tools, prompt=True)
        prompt_ids = self._encode([text])[0][0]
        if ids[: len(prompt_ids)] != prompt_ids:
            raise UnlabelledError(
                "template_unsupported",
                "its prompt has other tokens once the answer follows than when the model is asked.",
            )
        return {"messages": messages, "tools": rendered.tools, "prompt_ids": prompt_ids}


def _stops(folder: Path, tokenizer: Any) -> frozenset[int]:
    """Return every token at which serving ends an answer: of the tokenizer and of both configs."""
    stops = {tokenizer.eos_token_id}
    for name in ("config.json", "generation_config.json"):
        path = folder / name
        found = json.loads(path.read_text("utf-8")).get("eos_token_id") if path.is_file() else None
        stops.update(found if isinstance(found, list) else [found])
    return frozenset(stop for stop in stops if isinstance(stop, int))


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
    if len(train.lengths) < MIN_ROWS:
        raise FailedError(too_few(len(train.lengths), f" within the context of {spec['context']} tokens"))
    train.save(folder / "train.safetensors")
    valid = None
    if spec["valid"]:
        valid = tokeniser.file(Path(spec["valid"]), "validation_file")
        if not valid.lengths:
            text = f"No row of the validation file is within the context of {spec['context']} tokens."
            raise FailedError(Fail("invalid_validation_file", text, "validation_file"))
        valid.save(folder / "valid.safetensors")
    # not sorted: a template shows the keys of tools and arguments in the row's own order
    (folder / "probe.json").write_text(json.dumps(train.probe, ensure_ascii=False), encoding="utf-8")

    from functions.prepare_job.measure import measure, shape_of

    shape = shape_of(spec)
    created, base = JobCreated.model_validate(spec["created"]), ModelRegistered.model_validate(spec["base"])
    choice = choose(created, train.groups_made, base)
    measured = measure({**spec, "n_epochs": choice.n_epochs, "batch_size": choice.batch_size}, shape, train, valid)
    return {
        "train": train.counts(),
        "valid": valid.counts() if valid else None,
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
