"""LlamaIndex: OpenAILike for chats, streams, tools and objects; embeddings."""

from cells import BASE_URL, EMBEDDER, KEY, MODEL, PERSON, WEATHER, cell, main
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

called = []


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int


def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    called.append(city)
    return f"It is sunny in {city}."


def model(**options):
    """A model, as LlamaIndex's users have it."""
    own = {"model": MODEL, "api_base": BASE_URL, "api_key": KEY, "max_retries": 0, "temperature": 0}
    return OpenAILike(**own, is_chat_model=True, is_function_calling_model=True, max_tokens=100, **options)


@cell("chat, whole and streamed")
def chat():
    asked = [ChatMessage(role="user", content="Hello")]
    assert "".join(each.delta for each in model().stream_chat(asked)) == model().chat(asked).message.content


@cell("complete")
def complete():
    assert isinstance(model().complete("Hello").text, str)


@cell("a tool is called")
def tools():
    called.clear()
    model().predict_and_call([FunctionTool.from_defaults(get_weather)], WEATHER)
    assert called == ["Oslo"]


@cell("structured_predict by a function")
def predict():
    found = model().structured_predict(Person, PromptTemplate("{said}"), said=PERSON)
    assert isinstance(found, Person)


@cell("structured_predict by a schema")
def predict_schema():
    held = model(should_use_structured_outputs=True)
    assert held.structured_predict(Person, PromptTemplate("{said}"), said=PERSON) == Person(name="Ann", age=30)


@cell("embeddings")
def embeddings():
    found = OpenAILikeEmbedding(model_name=EMBEDDER, api_base=BASE_URL, api_key=KEY, max_retries=0)
    first, second = found.get_text_embedding_batch(["the red key", "the blue kettle"])
    assert len(first) == len(second) == 16


main()
