"""Graders by the official client, strictly: each type, what goes wrong with it, and code of two hostile tenants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from functions._shared.grading import code, python_child
from functions._shared.grading.code import Coders, NotConfinedError
from infra.children.child import ProcessChild
from tests.functional.edge import BASE, CannedReply, World

SAID = {"name": "g", "input": "{{ sample.output_text }}", "reference": "{{item.answer}}"}
CODE = {"type": "python", "name": "p"}


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


class Model:
    """A served model that writes what it is told to."""

    def __init__(self) -> None:
        self.says, self.status = '{"result": 0.5}', 200
        self.asked: list[dict[str, Any]] = []

    async def __call__(self, path: str, body: bytes, manifest: Any, request_id: str, tenant: str) -> CannedReply:
        self.asked.append(json.loads(body))
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        said: dict[str, Any] = {"choices": [{"message": {"role": "assistant", "content": self.says}}], "usage": usage}
        if self.status != 200:
            said = {"error": {"message": "The chat is too long."}}
        return CannedReply(self.status, {"content-type": "application/json"}, _once(json.dumps(said).encode()))


@pytest.fixture
def model(world: World) -> Model:
    world.complete = Model()
    found: Model = world.complete
    return found


@pytest.fixture
async def client(world: World) -> AsyncIterator[AsyncOpenAI]:
    await world.base()
    http = httpx.AsyncClient(transport=httpx.ASGITransport(world.app))
    key = await world.key("local")
    async with AsyncOpenAI(
        base_url="http://edge/v1",
        api_key=key,
        http_client=http,
        max_retries=0,
        _strict_response_validation=True,
    ) as found:
        yield found


async def run(client: AsyncOpenAI, grader: Any, sample: str = "Paris", **item: Any) -> Any:
    graders = client.fine_tuning.alpha.graders
    return await graders.run(grader=grader, model_sample=sample, item={"answer": "paris", **item})


@pytest.mark.parametrize(
    ("operation", "sample", "reward"),
    [
        ("eq", "paris", 1), ("eq", "Paris", 0), ("ne", "Paris", 1), ("like", "in paris", 1), ("like", "in Paris", 0),
        ("ilike", "in PARIS", 1), ("ilike", "Rome", 0),
    ],
)  # fmt: skip
async def test_texts_are_compared(client: AsyncOpenAI, operation: str, sample: str, reward: float) -> None:
    found = await run(client, {"type": "string_check", "operation": operation, **SAID}, sample)
    assert (found.reward, found.metadata.type, found.metadata.scores) == (reward, "string_check", {"g": reward})


@pytest.mark.parametrize(
    ("metric", "sample", "reward"),
    [
        ("fuzzy_match", "the cat sat", 1.0),
        ("fuzzy_match", "the cat sits", 0.8695652173913043),
        ("rouge_1", "the cat", 0.8),
        ("rouge_2", "the cat", 2 / 3),
        ("rouge_l", "the sat cat", 2 / 3),
        ("rouge_1", "", 0.0),
        ("gleu", "the cat sat", 1.0),
        ("gleu", "the cat ran", 0.5),
        ("bleu", "the cat sat", 1.0),
    ],
)
async def test_texts_are_alike_by(client: AsyncOpenAI, metric: str, sample: str, reward: float) -> None:
    grader = {"type": "text_similarity", "evaluation_metric": metric, **SAID}
    assert (await run(client, grader, sample, answer="the cat sat")).reward == pytest.approx(reward)


async def test_words_of_any_script_are_words(client: AsyncOpenAI) -> None:
    grader = {"type": "text_similarity", "evaluation_metric": "rouge_1", **SAID}
    assert (await run(client, grader, "größe über", answer="Größe")).reward == pytest.approx(2 / 3)
    assert (await run(client, grader, "日本", answer="中国")).reward == 0


async def test_a_model_says_a_score_within_its_range(client: AsyncOpenAI, model: Model) -> None:
    grader = {
        "type": "score_model", "name": "judge", "model": BASE, "range": [1, 5],
        "input": [{"role": "user", "content": "How good is {{ sample.output_text }} for {{ item.answer }}?"}],
        "sampling_params": {"temperature": 0, "seed": 1, "max_completions_tokens": 9},
    }  # fmt: skip
    model.says = '{"result": 4}'
    found = await run(client, grader)
    assert (found.reward, found.metadata.sampled_model_name, found.metadata.token_usage) == (4, BASE, 7)
    assert found.api_model_grader_token_usage_per_model[BASE]["total_tokens"] == 7
    (asked,) = model.asked
    assert asked["messages"] == [{"role": "user", "content": "How good is Paris for paris?"}]
    assert (asked["max_completion_tokens"], asked["temperature"], asked["seed"]) == (9, 0, 1)
    assert asked["response_format"]["json_schema"]["schema"]["properties"]["result"]["maximum"] == 5
    for said in ('{"result": 9}', "no", '{"result": true}', "[" * 9999):
        model.says = said
        found = await run(client, grader)
        assert found.reward == 0
        assert found.metadata.errors.api_model_grader_parse_error
    model.status = 400
    found = await run(client, grader)
    assert "too long" in found.metadata.errors.api_model_grader_server_error_details


async def test_a_model_says_a_label(client: AsyncOpenAI, model: Model) -> None:
    grader = {
        "type": "label_model", "name": "judge", "model": BASE, "labels": ["good", "bad"], "passing_labels": ["good"],
        "input": [{"role": "user", "content": {"type": "input_text", "text": "{{ sample.output_text }}?"}}],
    }  # fmt: skip
    for label, reward in (("good", 1), ("bad", 0)):
        model.says = json.dumps({"result": label})
        assert (await run(client, grader)).reward == reward


async def test_scores_are_combined_by_a_formula(client: AsyncOpenAI, model: Model) -> None:
    check = {"type": "string_check", "operation": "ilike", **SAID}
    alike = {"type": "text_similarity", "evaluation_metric": "fuzzy_match", **SAID}
    judge = {"type": "score_model", "name": "j", "model": BASE, "input": [{"role": "user", "content": "?"}]}
    formula = "min(1, a * 0.5 + max(b, 0) ^ 2 / 4 + j - -0)"
    for graders in ({"a": check, "b": alike, "j": judge}, [{**check, "name": "a"}, {**alike, "name": "b"}, judge]):
        multi = {"type": "multi", "name": "m", "graders": graders, "calculate_output": formula}
        found = await run(client, multi)
        assert found.reward == pytest.approx(min(1, 0.5 + 0.8**2 / 4 + 0.5))
        assert found.sub_rewards == {"a": 1, "b": pytest.approx(0.8), "j": 0.5}
        assert found.metadata.token_usage == 7
    single = {"type": "multi", "name": "m", "graders": check, "calculate_output": "g * 2"}
    assert (await client.fine_tuning.alpha.graders.validate(grader=single)).grader.name == "m"
    assert (await run(client, {**single, "calculate_output": "1 / (g - 1)"})).metadata.errors.formula_parse_error


@pytest.mark.parametrize(
    "formula",
    ["g.real", "__import__('os')", "g if g else 1", "x + 1", "g[0]", "g +", "(" * 300 + "g" + ")" * 300, "lambda: g",
     "sqrt(g, 2)", "max()", "-" * 900 + "g", "'a' * 9", "9e999"],
)  # fmt: skip
async def test_a_formula_is_arithmetic_alone(client: AsyncOpenAI, formula: str) -> None:
    check = {"type": "string_check", "operation": "eq", **SAID}
    with pytest.raises(openai.BadRequestError) as refused:
        await run(client, {"type": "multi", "name": "m", "graders": {"g": check}, "calculate_output": formula})
    assert (refused.value.code, refused.value.param) == ("invalid_formula", "grader.calculate_output")


async def test_code_grades(client: AsyncOpenAI) -> None:
    source = (
        "from rapidfuzz import fuzz\n\ndef grade(sample, item):\n    print('seen')\n"
        "    return len(sample['output_json']['a']) + fuzz.ratio('a', item['answer']) / 1000\n"
    )
    found = await run(client, {**CODE, "source": source}, '{"a": [1, 2]}', answer="a")
    assert found.reward == pytest.approx(2.1)
    assert (await client.fine_tuning.alpha.graders.validate(grader={**CODE, "source": source})).grader


REACHING = {
    "open('/etc/passwd')": "PermissionError",
    "open('/tmp/x', 'w')": "PermissionError",
    "os.fork()": "PermissionError",
    "os.kill(os.getppid(), 9)": "PermissionError",
    "os.execv('/bin/true', ['true'])": "PermissionError",
    "os.listdir('/proc')": "PermissionError",
    "__import__('socket').socket()": "ModuleNotFoundError",
    "__import__('ctypes').CDLL(None).socket(2, 1, 0) == -1 and 1 / 0": "ZeroDivisionError",
    "1 / 0": "ZeroDivisionError",
    "'text'": "finite number",
    "float('nan')": "finite number",
    "10 ** 400": "Error",
    "'\\ud800'.encode()": "UnicodeEncodeError",
    "bytearray(2 ** 30)": "MemoryError",
    "exit(0)": "NameError|SystemExit",
    "recursive(0)": "RecursionError",
}


async def test_code_reaches_nothing(tmp_path: Path) -> None:
    lines = "".join(f"    lambda: {line},\n" for line in REACHING)
    source = (
        f"import sys\nos = sys.modules['os']\ndef recursive(n): return recursive(n)\nLINES = [\n{lines}]\n"
        "def grade(sample, item): return LINES[item['k']]()\n"
    )
    rows = [{"sample": {}, "item": {"k": place}} for place in range(len(REACHING))]
    found = await code.run_code(ProcessChild(), tmp_path, source, rows)
    for (line, says), graded in zip(REACHING.items(), found, strict=True):
        assert graded.error == "python_grader_runtime_error", line
        assert any(each in str(graded.details) for each in says.split("|")), (line, graded.details)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line", ["os._exit(0)", "os.write(1, b'[]') and os._exit(0)", "os.abort()"])
async def test_code_that_ends_its_process_fails(client: AsyncOpenAI, line: str) -> None:
    source = f"import sys\nos = sys.modules['os']\n\ndef grade(sample, item):\n    {line}\n"
    errors = (await run(client, {**CODE, "source": source})).metadata.errors
    assert "did not end" in errors.python_grader_runtime_error_details


@pytest.mark.parametrize(
    ("source", "says"),
    [("def grade(sample, item:\n  1", "SyntaxError"), ("grade = 1", "no function"), ("x = 1", "no function grade"),
     ("x = {}['a']", "Line 1: KeyError: 'a'"),
     ("import numpy", "ModuleNotFoundError"), ("raise SystemExit", "SystemExit")],
)  # fmt: skip
async def test_code_that_is_no_grader_is_refused(client: AsyncOpenAI, source: str, says: str) -> None:
    with pytest.raises(openai.BadRequestError, match=says) as refused:
        await client.fine_tuning.alpha.graders.validate(grader={**CODE, "source": source})
    assert (refused.value.code, refused.value.param) == ("invalid_grader", "grader.source")


async def test_code_that_calculates_for_ever_ends(client: AsyncOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "SECONDS", 1.0)
    source = "def grade(sample, item):\n    while item: pass\n"
    found = await run(client, {**CODE, "source": source})
    assert "did not end" in found.metadata.errors.python_grader_runtime_error_details


async def test_a_tenants_code_waits_for_its_own_alone(world: World, client: AsyncOpenAI, tmp_path: Path) -> None:
    good = {**CODE, "source": "def grade(sample, item):\n    return 1\n"}
    coders = Coders(ProcessChild(), tmp_path, most=1)
    world.app.state.deps = replace(world.deps, coders=coders)
    answers = await asyncio.gather(*(run(client, good) for _ in range(4)), return_exceptions=True)
    refused = [each for each in answers if isinstance(each, openai.RateLimitError)]
    assert [each.code for each in refused] == ["too_many_graders"] * 2
    assert sum(not isinstance(each, BaseException) and each.reward == 1 for each in answers) == 2
    assert coders.turns == {}


async def test_a_machine_that_cannot_hold_code_says_so(client: AsyncOpenAI, world: World) -> None:
    async def unheld(*_: Any) -> None:
        raise NotConfinedError

    world.deps.coders.run = unheld
    with pytest.raises(openai.BadRequestError, match="seccomp") as refused:
        await run(client, {**CODE, "source": "def grade(sample, item): return 1"})
    assert refused.value.code == "unsupported"


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"operation": "is"}, "invalid_value", "grader.operation"),
        ({"type": "exact"}, "invalid_value", "grader.type"),
        ({"type": []}, "invalid_value", "grader.type"),
        ({"input": None}, "missing_required_parameter", "grader.input"),
        ({"input": "{{ other.x }}"}, "invalid_template", "grader.input"),
        ({"input": "{{ item.x | upper }}"}, "invalid_template", "grader.input"),
        ({"refrence": "x"}, "unknown_parameter", "grader.refrence"),
        ({"type": "text_similarity", "operation": None, "evaluation_metric": "meteor"}, "unsupported",
         "grader.evaluation_metric"),
        ({"type": "text_similarity", "operation": None, "evaluation_metric": "cosine"}, "unsupported",
         "grader.evaluation_metric"),
        ({"type": "score_model", "model": "none", "input": [{"role": "user", "content": "x"}], "operation": None,
          "reference": None}, "model_not_found", "grader.model"),
        ({"type": "score_model", "model": BASE, "operation": None, "reference": None,
          "input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "unsupported",
         "grader.input[0].content"),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_a_grader_is_named(
    client: AsyncOpenAI, change: dict[str, Any], code: str, param: str
) -> None:
    grader = {"type": "string_check", "operation": "eq", **SAID, **change}
    grader = {name: value for name, value in grader.items() if value is not None}
    with pytest.raises(openai.BadRequestError) as refused:
        await client.fine_tuning.alpha.graders.validate(grader=grader)
    assert (refused.value.code, refused.value.param) == (code, param)


async def test_a_value_that_is_not_there_is_said(client: AsyncOpenAI) -> None:
    grader = {"type": "string_check", "operation": "eq", **SAID, "input": "{{ sample.output_json.a[0]['b c'] }}"}
    assert (await run(client, grader, '{"a": [{"b c": "paris"}]}')).reward == 1
    for sample in ("no json", '{"a": []}', '{"a": 5}', '{"a": {"0": 1}}'):
        found = await run(client, grader, sample)
        assert (found.reward, found.metadata.errors.invalid_variable_error) == (0, True)
    long = {**grader, "input": "{{ item.long }}" * 20}
    assert (await run(client, long, long="x" * 10_000)).metadata.errors.truncated_observation_error


def test_the_child_gives_itself_less_time_than_it_gets() -> None:
    assert python_child.SECONDS < code.SECONDS
