"""Requests made of a description, and the answers held against it: schemathesis, over any way to send them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi import checks

load_all_checks()
DESCRIBED = Path(__file__).parents[1] / "contracts" / "openapi.json"
HELD = [checks.status_code_conformance, checks.content_type_conformance, checks.response_schema_conformance]
Known = Callable[[str, str], Mapping[str, Sequence[str]]]
Send = Callable[[str, str, Mapping[str, str], bytes], httpx.Response]


@dataclass
class Fuzzed:
    """What came of it."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: dict[str, str] = field(default_factory=dict)
    """Call and fault → what was sent and answered."""


def fuzz(send: Send, known: Known, each: int, start: int = 0) -> Fuzzed:
    """Send `each` requests that the description allows to every operation, and as many that it does not.

    `known`: method and path → name of a parameter or field → values that mean something to the server; they are taken
    in half of the requests.
    """
    schema = schemathesis.openapi.from_dict(json.loads(DESCRIBED.read_text()))
    schema.validate()
    found = Fuzzed()
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                _of_operation(operation, mode, send, known, each, start, found)
            except Unsatisfiable:
                continue  # nothing that it takes can be wrong
    return found


def _of_operation(
    operation: Any,
    mode: GenerationMode,
    send: Send,
    known: Known,
    each: int,
    start: int,
    found: Fuzzed,
) -> None:
    values = known(operation.method.upper(), operation.path)

    @seed(start)
    @settings(
        max_examples=each,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode), st.data())
    def ask(case: Any, data: st.DataObject) -> None:
        for part in (case.path_parameters, case.query, case.body):
            for name in sorted(values):
                if isinstance(part, dict) and name in part and data.draw(st.booleans()):
                    part[name] = data.draw(st.sampled_from(values[name]))
        _held(case, send, found)

    ask()


def _held(case: Any, send: Send, found: Fuzzed) -> None:
    asked = requests.Request(**case.as_transport_kwargs(base_url="http://edge")).prepare()
    body = asked.body.encode() if isinstance(asked.body, str) else asked.body or b""
    assert asked.url is not None
    answer = send(case.method, asked.url, dict(asked.headers), body)
    found.statuses[answer.status_code] += 1
    fault = ""
    if answer.status_code >= 500 and not (answer.status_code == 503 and "retry-after" in answer.headers):
        fault = f"{answer.status_code}"
    else:
        try:
            case.validate_response(answer, checks=HELD)
        except BaseExceptionGroup as error:
            fault = "; ".join(str(each)[:600] for each in error.exceptions)
    if fault:
        what = f"{case.method} {asked.url[:300]} {body[:600]!r} → {answer.status_code} {answer.text[:600]}"
        found.wrong.setdefault(f"{case.method} {case.path}: {fault[:80]}", f"{fault}\n{what}")
