"""Nothing that the official client may send is dropped in silence."""

from __future__ import annotations

import pytest

from contracts.wire.completions import Chat, Completion
from contracts.wire.embeddings import Embeddings
from contracts.wire.errors import ApiError
from contracts.wire.request import Request
from infra import api

ASKED = {
    operation.body: operation
    for operation in api.operations()
    if operation.call is not None and operation.body in (Chat, Completion, Embeddings)
}
LEAST = {
    Chat: {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    Completion: {"model": "m", "prompt": "hi"},
    Embeddings: {"model": "m", "input": "hi"},
}


def test_every_parameter_of_the_official_client_is_honoured_refused_or_known_to_have_no_effect() -> None:
    found = {f"{each.method} {each.path}": api.parameters(each) for each in api.operations() if each.call}
    lost = {call: [name for name, standing in names.items() if standing == "unknown"] for call, names in found.items()}
    assert {call: names for call, names in lost.items() if names} == {}
    assert found["POST /v1/chat/completions"]["stream_options.include_usage"] == "honoured"
    assert sum(map(len, found.values())) > 100
    assert {"GET /v1/files/{id}", "DELETE /v1/models/{model}", "POST /v1/completions"} <= set(found)


def test_a_parameter_that_nobody_listed_is_found() -> None:
    class Forgetful(Completion):
        ignored = frozenset[str]()

    asked = ASKED[Completion]
    told = api.parameters(api.Operation(asked.method, asked.path, "", Forgetful, None, asked.call))
    assert [name for name, standing in told.items() if standing == "unknown"] == ["user"]


@pytest.mark.parametrize("known", LEAST, ids=["chat", "completion", "embeddings"])
def test_what_is_said_of_a_parameter_is_what_becomes_of_it(known: type[Request]) -> None:
    least = LEAST[known]
    plain = known.read(least)
    for name, standing in api.parameters(ASKED[known]).items():
        if "." in name or standing == "honoured":
            continue
        if standing == "no effect":
            assert known.read({**least, name: "any"}) == plain, name
        else:
            with pytest.raises(ApiError, match=name) as refused:
                known.read({**least, name: "any"})
            assert (refused.value.code, refused.value.param) == ("unsupported", name)
