"""LangChain: chats, streams, tools, the three ways to structured output, an agent, Responses, embeddings, Azure."""

import os
from typing import TypedDict

from cells import BASE_URL, EMBEDDER, KEY, MODEL, PERSON, WEATHER, cell, main
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import AzureChatOpenAI, ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel

called = []


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int


class PersonDict(TypedDict):
    """Somebody."""

    name: str
    age: int


@tool
def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    called.append(city)
    return f"It is sunny in {city}."


def chat(**options):
    """A model, as LangChain's users have it."""
    return ChatOpenAI(model=MODEL, temperature=0, max_retries=0, timeout=60, **options)


@cell("chat")
def invoke():
    said = chat(max_tokens=20).invoke([("system", "Be brief."), ("user", "Hello")])
    assert isinstance(said.content, str)
    assert said.usage_metadata["output_tokens"] > 0
    assert said.response_metadata["finish_reason"] in ("stop", "length")


@cell("chat, streamed, with usage")
def stream():
    pieces = list(chat(max_tokens=20, stream_usage=True).stream("Hello"))
    assert "".join(each.content for each in pieces) == chat(max_tokens=20).invoke("Hello").content
    assert any(each.usage_metadata for each in pieces)


@cell("chat, asynchronous batch")
async def abatch():
    assert len(await chat(max_tokens=5).abatch(["Hello", "What is code 3?", "Bye"])) == 3


@cell("log-probabilities")
def logprobs():
    said = chat(max_tokens=3).bind(logprobs=True, top_logprobs=2).invoke("Hello")
    assert all(each["logprob"] <= 0 for each in said.response_metadata["logprobs"]["content"])


@cell("bind_tools: the model calls by itself")
def tools_auto():
    (call,) = chat().bind_tools([get_weather]).invoke(WEATHER).tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Oslo"})


@cell("bind_tools: the call and its answer go back")
def tools_answered():
    model = chat().bind_tools([get_weather])
    asked = [HumanMessage(WEATHER)]
    said = model.invoke(asked)
    answers = [ToolMessage("It is sunny in Oslo.", tool_call_id=each["id"]) for each in said.tool_calls]
    assert "sunny" in model.invoke([*asked, said, *answers]).content


@cell("bind_tools with tool_choice='any', strict")
def tools_any():
    said = chat().bind_tools([get_weather], tool_choice="any", strict=True).invoke("Hello")
    assert [each["name"] for each in said.tool_calls] == ["get_weather"]
    assert list(said.tool_calls[0]["args"]) == ["city"]


@cell("bind_tools, streamed")
def tools_streamed():
    whole = None
    for piece in chat().bind_tools([get_weather]).stream(WEATHER):
        whole = piece if whole is None else whole + piece
    assert [(each["name"], each["args"]) for each in whole.tool_calls] == [("get_weather", {"city": "Oslo"})]


@cell("create_agent: the tool is called, its answer told")
def agent():
    called.clear()
    done = create_agent(chat(), [get_weather]).invoke({"messages": [("user", WEATHER)]})
    assert called == ["Oslo"]
    assert "sunny" in done["messages"][-1].content


@cell("create_agent with response_format")
def agent_structured():
    done = create_agent(chat(), [], response_format=Person).invoke({"messages": [("user", PERSON)]})
    assert isinstance(done["structured_response"], Person)


@cell("with_structured_output(method='json_schema')")
def json_schema():
    assert chat().with_structured_output(Person, method="json_schema").invoke(PERSON) == Person(name="Ann", age=30)


@cell("with_structured_output(method='function_calling')")
def function_calling():
    found = chat().with_structured_output(Person, method="function_calling").invoke(PERSON)
    assert isinstance(found, Person)


@cell("with_structured_output(method='json_mode')")
def json_mode():
    asked = [("system", "Answer in JSON with the keys name and age."), ("user", PERSON)]
    assert chat().with_structured_output(Person, method="json_mode").invoke(asked) == Person(name="Ann", age=30)


@cell("with_structured_output of a TypedDict, strict, with the raw answer")
def typed_dict():
    found = chat().with_structured_output(PersonDict, strict=True, include_raw=True).invoke(PERSON)
    assert found["parsing_error"] is None
    assert found["parsed"].keys() == {"name", "age"}


@cell("with_structured_output, streamed")
def structured_streamed():
    pieces = list(chat().with_structured_output(Person).stream(PERSON))
    assert pieces[-1] == Person(name="Ann", age=30)


@cell("use_responses_api: chat")
def responses():
    said = chat(use_responses_api=True, max_tokens=20).invoke("Hello")
    assert said.id.startswith("resp_")
    assert said.usage_metadata["output_tokens"] > 0


@cell("use_responses_api: streamed")
def responses_streamed():
    pieces = list(chat(use_responses_api=True, max_tokens=20).stream("Hello"))
    assert "".join(each.text for each in pieces) == chat(use_responses_api=True, max_tokens=20).invoke("Hello").text


@cell("use_responses_api: goes on from the response before")
def responses_go_on():
    model = chat(use_responses_api=True, use_previous_response_id=True)
    said = model.bind_tools([get_weather]).invoke(WEATHER)
    answer = ToolMessage("It is sunny in Oslo.", tool_call_id=said.tool_calls[0]["id"])
    assert "sunny" in model.bind_tools([get_weather]).invoke([HumanMessage(WEATHER), said, answer]).text


@cell("use_responses_api: an agent's tool is called")
def responses_agent():
    called.clear()
    done = create_agent(chat(use_responses_api=True), [get_weather]).invoke({"messages": [("user", WEATHER)]})
    assert called == ["Oslo"]
    assert "sunny" in done["messages"][-1].text


@cell("use_responses_api: with_structured_output")
def responses_structured():
    found = chat(use_responses_api=True).with_structured_output(Person).invoke(PERSON)
    assert found == Person(name="Ann", age=30)


@cell("OpenAI: text completions")
def completions():
    model = OpenAI(model=MODEL, temperature=0, max_tokens=8, max_retries=0)
    assert "".join(model.stream("What is")) == model.invoke("What is")


@cell("OpenAIEmbeddings of texts")
def embeddings():
    model = OpenAIEmbeddings(model=EMBEDDER, check_embedding_ctx_length=False, max_retries=0)
    first, second = model.embed_documents(["the red key", "the blue kettle"])
    assert first != second
    near = model.embed_query("the red key")
    assert max(abs(a - b) for a, b in zip(first, near, strict=True)) < 1e-4


@cell("OpenAIEmbeddings cut to `dimensions`")
def embeddings_cut():
    model = OpenAIEmbeddings(model=EMBEDDER, dimensions=8, check_embedding_ctx_length=False, max_retries=0)
    assert len(model.embed_query("the red key")) == 8


@cell("AzureChatOpenAI: chat, tools")
def azure():
    os.environ["OPENAI_API_VERSION"] = "2024-10-21"
    url = os.environ.pop("OPENAI_BASE_URL")
    try:
        root = BASE_URL.removesuffix("/v1")
        model = AzureChatOpenAI(azure_deployment=MODEL, azure_endpoint=root, api_key=KEY, temperature=0, max_retries=0)
        (call,) = model.bind_tools([get_weather]).invoke(WEATHER).tool_calls
        assert call["args"] == {"city": "Oslo"}
        assert "".join(each.text for each in model.stream("Hello")) == model.invoke("Hello").text
    finally:
        os.environ["OPENAI_BASE_URL"] = url


main()
