"""DeepEval: as a judge with a schema, by the client's parse, by JSON in words, by its own model for other servers."""

from cells import BASE_URL, KEY, MODEL, PERSON, cell, main
from deepeval.metrics import AnswerRelevancyMetric, GEval
from deepeval.models import DeepEvalBaseLLM, LocalModel
from deepeval.test_case import LLMTestCase, SingleTurnParams
from openai import OpenAI
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


class Judge(DeepEvalBaseLLM):
    """A model of one's own, as DeepEval's guide makes it."""

    def __init__(self):
        self.client = OpenAI(max_retries=0)
        super().__init__(MODEL)

    def load_model(self):
        return self.client

    def get_model_name(self):
        return MODEL

    def generate(self, prompt, schema=None):
        asked = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "temperature": 0}
        if schema is None:
            return self.client.chat.completions.create(**asked, max_tokens=100).choices[0].message.content
        said = self.client.chat.completions.parse(**asked, response_format=schema)
        return said.choices[0].message.parsed

    async def a_generate(self, prompt, schema=None):
        return self.generate(prompt, schema)


def case():
    """What is judged."""
    said = {"actual_output": "It is sunny in Oslo.", "expected_output": "It is sunny in Oslo."}
    return LLMTestCase(input="What is the weather in Oslo?", **said)


@cell("LocalModel: an object")
def local():
    found, _ = LocalModel(model=MODEL, base_url=BASE_URL, api_key=KEY, temperature=0).generate(PERSON, Person)
    assert isinstance(found, Person)


@cell("GEval with a schema")
def geval():
    params = [SingleTurnParams.ACTUAL_OUTPUT, SingleTurnParams.EXPECTED_OUTPUT]
    steps = ["Say whether both mean the same."]
    metric = GEval("Right", evaluation_steps=steps, evaluation_params=params, model=Judge(), async_mode=False)
    metric.measure(case())
    assert metric.score is not None
    assert isinstance(metric.reason, str)


@cell("AnswerRelevancyMetric with schemas")
def relevancy():
    metric = AnswerRelevancyMetric(model=Judge(), async_mode=False)
    metric.measure(case())
    assert 0 <= metric.score <= 1


main()
