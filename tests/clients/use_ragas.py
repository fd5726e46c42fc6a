"""ragas: as a judge with a schema, by instructor's modes; embeddings."""

import instructor
from cells import EMBEDDER, MODEL, PERSON, cell, main
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel
from ragas.embeddings import OpenAIEmbeddings
from ragas.llms import llm_factory
from ragas.llms.base import InstructorLLM
from ragas.metrics import DiscreteMetric, NumericMetric
from ragas.metrics.collections import AnswerRelevancy, Faithfulness, SemanticSimilarity


class Person(BaseModel):
    name: str
    age: int


def judge(client=None):
    """A model whose answers a schema holds."""
    patched = instructor.from_openai(client or OpenAI(max_retries=0), mode=instructor.Mode.JSON_SCHEMA)
    return InstructorLLM(patched, MODEL, "openai", temperature=0)


@cell("llm_factory (JSON mode): an object")
def factory():
    found = llm_factory(MODEL, client=OpenAI(max_retries=0)).generate(PERSON, Person)
    assert isinstance(found, Person)


@cell("JSON_SCHEMA: an object")
def schema():
    assert isinstance(judge().generate(PERSON, Person), Person)


@cell("DiscreteMetric")
def discrete():
    metric = DiscreteMetric(name="right", prompt="Is this right? {response}", allowed_values=["pass", "fail"])
    assert metric.score(llm=judge(), response="It is sunny in Oslo.").value in ("pass", "fail")


@cell("NumericMetric")
def numeric():
    metric = NumericMetric(name="good", prompt="From 0 to 10, how good is it? {response}", allowed_values=(0, 10))
    assert isinstance(metric.score(llm=judge(), response="It is sunny in Oslo.").value, float)


@cell("Faithfulness: a long prompt, nested schemas")
async def faithfulness():
    metric = Faithfulness(llm=judge(AsyncOpenAI(max_retries=0)))
    found = await metric.ascore("The weather?", "It is sunny in Oslo.", ["It is sunny in Oslo."])
    assert found.value is not None


@cell("SemanticSimilarity: embeddings")
async def similarity():
    metric = SemanticSimilarity(embeddings=OpenAIEmbeddings(OpenAI(max_retries=0), EMBEDDER))
    found = await metric.ascore(reference="the red key", response="the red key")
    assert abs(found.value - 1) < 1e-4


@cell("AnswerRelevancy: a judge and embeddings")
async def relevancy():
    client = AsyncOpenAI(max_retries=0)
    metric = AnswerRelevancy(llm=judge(client), embeddings=OpenAIEmbeddings(client, EMBEDDER), strictness=1)
    found = await metric.ascore(user_input="The weather in Oslo?", response="It is sunny in Oslo.")
    assert found.value is not None


main()
