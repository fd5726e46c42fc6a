"""What a request may say: every parameter of OpenAI's own types is decided on, and nothing else passes in silence."""

from __future__ import annotations

import time
from typing import Any

import pytest
from openai.types import completion_create_params, file_create_params
from openai.types.chat import completion_create_params as chat_create_params
from openai.types.fine_tuning import (
    dpo_hyperparameters_param,
    job_create_params,
    reinforcement_hyperparameters_param,
    supervised_hyperparameters_param,
    supervised_method_param,
)
from openai.types.responses import response_create_params

from contracts.wire.completions import Chat, Completion
from contracts.wire.errors import ApiError
from contracts.wire.request import OTHERS, Request, check_names
from contracts.wire.requests import (
    FileForm,
    HyperparametersRequest,
    IntegrationRequest,
    JobRequest,
    MethodRequest,
    Supervised,
    WandbRequest,
)
from contracts.wire.responses import ResponseRequest

JOB = {"model": "m", "training_file": "f"}


def all_names(known: type[Request]) -> set[str]:
    names = [*known.served, *known.ignored, *known.refused]
    assert len(names) == len(set(names))
    return set(names)


def names(typed: Any) -> set[str]:
    return set(typed.__annotations__)


def refused(body: dict[str, Any], known: type[Request]) -> tuple[str | None, str | None, str]:
    with pytest.raises(ApiError) as error:
        check_names(body, known)
    return error.value.code, error.value.param, error.value.message


def job_refused(body: dict[str, Any]) -> tuple[str | None, str | None, str]:
    with pytest.raises(ApiError) as error:
        JobRequest.read({**JOB, **body})
    return error.value.code, error.value.param, error.value.message


def test_every_parameter_of_the_official_client_is_decided_on() -> None:
    chat = chat_create_params.CompletionCreateParamsStreaming
    own_of_chats = OTHERS | {"chat_template_kwargs"}
    assert all_names(Chat) - own_of_chats == names(chat) | names(chat_create_params.CompletionCreateParamsNonStreaming)
    text = completion_create_params.CompletionCreateParamsStreaming
    assert all_names(Completion) - own_of_chats == names(text) | names(
        completion_create_params.CompletionCreateParamsNonStreaming
    )
    responses = response_create_params.ResponseCreateParamsStreaming
    assert all_names(ResponseRequest) - own_of_chats == names(responses) | names(
        response_create_params.ResponseCreateParamsNonStreaming
    )
    own = {"tuning", "overlong", "benchmarks", "dataset", "chat_template_kwargs", "trainingType"}
    assert all_names(JobRequest) - own == names(job_create_params.JobCreateParams)
    assert all_names(MethodRequest) == names(job_create_params.Method)
    assert all_names(Supervised) == names(supervised_method_param.SupervisedMethodParam)
    hyperparameters = names(supervised_hyperparameters_param.SupervisedHyperparametersParam)
    others = names(dpo_hyperparameters_param.DpoHyperparametersParam)
    others |= names(reinforcement_hyperparameters_param.ReinforcementHyperparametersParam)
    assert hyperparameters <= set(HyperparametersRequest.served)
    assert others - hyperparameters == HyperparametersRequest.refused
    assert names(job_create_params.Integration) == set(IntegrationRequest.served)
    assert names(job_create_params.IntegrationWandb) == set(WandbRequest.served) - {"api_key"}
    assert {name.partition("[")[0] for name in FileForm.served} - {"dataset"} == names(
        file_create_params.FileCreateParams
    )


@pytest.mark.parametrize(
    ("body", "param", "hint"),
    [
        ({"lora_r": 4}, "lora_r", "Did you mean 'tuning.r'?"),
        ({"lora_alpha": 4}, "lora_alpha", "Did you mean 'tuning.alpha'?"),
        ({"n_epochs": 3}, "n_epochs", "Did you mean 'hyperparameters.n_epochs'?"),
        ({"traning_file": "file-1"}, "traning_file", "Did you mean 'training_file'?"),
        ({"hyperparameters": {"epochs": 3}}, "hyperparameters.epochs", "Did you mean 'hyperparameters.n_epochs'?"),
        (
            {"method": {"type": "supervised", "supervised": {"hyperparameters": {"batchSize": 3}}}},
            "method.supervised.hyperparameters.batchSize",
            "Did you mean 'method.supervised.hyperparameters.batch_size'?",
        ),
        (
            {"integrations": [{"type": "wandb", "wandb": {"projekt": "p"}}]},
            "integrations[0].wandb.projekt",
            "Did you mean 'integrations.wandb.project'?",
        ),
        ({"tuning": {"xyz": None}}, "tuning.xyz", "Known here are: alpha, dropout, kind, r."),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest_one(body: dict[str, Any], param: str, hint: str) -> None:
    assert job_refused(body) == ("unknown_parameter", param, f"Unknown parameter: '{param}'. {hint}")


def test_what_openai_has_and_temper_does_not_is_said() -> None:
    code, param, message = job_refused({"hyperparameters": {"beta": 0.1}})
    assert (code, param) == ("unsupported", "hyperparameters.beta")
    assert "part of OpenAI's API, but Temper does not serve it" in message
    assert refused({"web_search_options": {}}, Chat)[:2] == ("unsupported", "web_search_options")
    check_names({"web_search_options": None, "hyperparameters": 7}, Chat)  # null is what clients send for nothing
    JobRequest.read({**JOB, "hyperparameters": {"beta": None, "n_epochs": None}, "method": None})


def test_a_body_full_of_names_costs_little() -> None:
    """Each name costs a third of a millisecond, and a body may have a hundred thousand."""
    began = time.process_time()
    assert job_refused({"integrations": [{"z": 1}] * 100_000})[1] == "integrations"
    many = {f"x{number:06}": 1 for number in range(80_000)}
    assert job_refused({"integrations": [{"type": "mail", **many}]})[0] == "unsupported"
    assert job_refused({"metadata": many})[0] == "object_above_max_properties"
    check_names(many, Chat)
    with pytest.raises(ApiError, match="messages"):
        Chat.read({"model": "m", "messages": [1] * 500_000})
    assert time.process_time() - began < 2


def test_a_chat_ignores_what_changes_no_answer_and_what_it_never_heard_of() -> None:
    check_names(
        dict.fromkeys(Chat.ignored, "x") | {"chat_template_kwargs": {}, "tool_ids": [], "session_id": "x"}, Chat
    )
    assert refused({"temprature": 0}, Chat)[2] == "Unknown parameter: 'temprature'. Did you mean 'temperature'?"
    assert refused({"max_new_tokens": 9}, Completion)[1] == "max_new_tokens"


@pytest.mark.parametrize("path", sorted(JobRequest.leaves()))
def test_every_parameter_of_a_job_is_read(path: str) -> None:
    """One that nobody reads is dropped in silence, however well it is known."""
    body: dict[str, Any] = {**JOB, "method": {"type": "supervised"}}
    body["integrations"] = [{"type": "wandb", "wandb": {"project": "p"}}]
    *parents, leaf = path.split(".")
    place = body
    for name in parents:
        below = place.setdefault(name, {})
        place = below[0] if isinstance(below, list) else below
    place[leaf] = 1.5 if leaf != "dropout" and "multiplier" not in leaf else "x"
    assert (job_refused(body)[1] or "").replace("[0]", "") == path


@pytest.mark.parametrize(
    "body",
    [
        {"overlong": "x" * 100_000},
        {"suffix": "x" * 100_000},
        {"method": {"type": "x" * 100_000}},
        {"integrations": [{"type": "x" * 100_000}]},
        {"x" * 100_000: 1},
        {"metadata": {"x" * 100_000: 1}},
        {"seed": 10**399},
        {"tuning": {"dropout": 10**399}},
        {"tuning": {"kind": [[]] * 100_000}},
    ],
)
def test_what_is_long_is_not_said_back(body: dict[str, Any]) -> None:
    _, param, message = job_refused(body)
    assert len(param or "") < 100
    assert len(message) < 600
