"""inspect-ai: small evaluations on Responses and on chat completions; tools, schemas, log-probabilities, a judge."""

import os
import tempfile

from cells import BASE_URL, KEY, MODEL, PERSON, WEATHER, cell, main
from inspect_ai import Task
from inspect_ai import eval as evaluate
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig, ResponseSchema, get_model
from inspect_ai.scorer import includes, model_graded_qa
from inspect_ai.solver import generate, use_tools
from inspect_ai.tool import tool
from inspect_ai.util import json_schema
from pydantic import BaseModel

os.environ |= {"TEMPER_BASE_URL": BASE_URL, "TEMPER_API_KEY": KEY}
FOLDER = tempfile.mkdtemp()
called = []


class Person(BaseModel):
    name: str
    age: int


@tool
def get_weather():
    async def execute(city: str):
        """Tell the weather in a city.

        Args:
            city: The city.
        """
        called.append(city)
        return f"It is sunny in {city}."

    return execute


def run(model, sample, solver, scorer, **config):
    """Return the log of an evaluation that succeeded."""
    task = Task(dataset=[sample], solver=solver, scorer=scorer)
    kept = {"log_dir": FOLDER, "display": "none", "log_level": "error"}
    (log,) = evaluate(task, model=model, temperature=0, max_retries=0, **kept, **config)
    assert log.status == "success", log.error and log.error.message
    return log


KINDS = {
    "openai/, Responses": (f"openai/{MODEL}", {"responses_api": True}),
    "openai/, chat completions": (f"openai/{MODEL}", {"responses_api": False}),
    "openai-api/": (f"openai-api/temper/{MODEL}", {}),
}


def model_of(kind):
    """A model, as inspect's users name it."""
    name, arguments = KINDS[kind]
    return get_model(name, config=GenerateConfig(max_tokens=100), memoize=False, **arguments)


for each in KINDS:

    @cell(f"{each}: an evaluation")
    def chat(kind=each):
        log = run(model_of(kind), Sample("Hello", target="x"), generate(), includes(), max_tokens=20)
        assert log.stats.model_usage

    @cell(f"{each}: a tool is called")
    def tools(kind=each):
        called.clear()
        solver = [use_tools(get_weather()), generate()]
        log = run(model_of(kind), Sample(WEATHER, target="sunny"), solver, includes())
        assert called == ["Oslo"]
        assert log.results.scores[0].metrics["accuracy"].value == 1.0

    @cell(f"{each}: response_schema")
    async def schema(kind=each):
        held = ResponseSchema(name="person", json_schema=json_schema(Person), strict=True)
        said = await model_of(kind).generate(PERSON, config=GenerateConfig(response_schema=held, temperature=0))
        assert Person.model_validate_json(said.completion) == Person(name="Ann", age=30)

    @cell(f"{each}: num_choices, stop_seqs, seed, log-probabilities")
    async def options(kind=each):
        several = {} if "Responses" in kind else {"num_choices": 2, "stop_seqs": ["zz"], "seed": 3}
        config = GenerateConfig(max_tokens=5, temperature=0, logprobs=True, top_logprobs=2, **several)
        said = await model_of(kind).generate("Hello", config=config)
        assert said.choices[0].logprobs.content
        assert len(said.choices) == (2 if several else 1)

    @cell(f"{each}: as a judge")
    def judge(kind=each):
        scorer = model_graded_qa(model=model_of(kind))
        run(model_of(kind), Sample(WEATHER, target="sunny"), generate(), scorer, max_tokens=20)


main()
