"""The official client: every call of tests/e2e/clients, strictly typed, part by part; its helpers; Azure's client."""

import json
import os
import sys
from pathlib import Path

from cells import BASE_URL, KEY, MODEL, PERSON, WEATHER, cell, main
from openai import AsyncOpenAI, AzureOpenAI, OpenAI, pydantic_function_tool
from pydantic import BaseModel

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e" / "clients"))
import calls

BASE = os.environ["CLIENTS_BASE"]
STRICT = OpenAI(_strict_response_validation=True, max_retries=0)
PARTS = [calls.refusals, calls.jobs, calls.models, calls.completions, calls.responses, calls.stored_chats]
PARTS += [calls.structured, calls.batches, calls.training]
TOOL = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


class Person(BaseModel):
    name: str
    age: int


class Weather(BaseModel):
    """Tell the weather in a city."""

    city: str


for each in (calls.files, calls.uploads):
    cell(each.__doc__)(lambda part=each: part(STRICT))
for each in PARTS:
    cell(each.__doc__)(lambda part=each: part(STRICT, BASE))


@cell("chat.completions.parse of a pydantic model")
def parse():
    messages = [{"role": "user", "content": PERSON}]
    parsing = getattr(STRICT.chat.completions, "parse", None) or STRICT.beta.chat.completions.parse
    said = parsing(model=MODEL, messages=messages, response_format=Person, temperature=0)
    assert said.choices[0].message.parsed == Person(name="Ann", age=30)


@cell("chat.completions.parse of functions, and their answers back")
def parse_functions():
    messages = [{"role": "user", "content": WEATHER}]
    asked = {"model": MODEL, "tools": [pydantic_function_tool(Weather, name="get_weather")], "temperature": 0}
    said = STRICT.chat.completions.parse(messages=messages, **asked).choices[0]
    (call,) = said.message.tool_calls
    assert (said.finish_reason, call.function.parsed_arguments.city) == ("tool_calls", "Oslo")
    messages += [said.message.to_dict(), {"role": "tool", "tool_call_id": call.id, "content": "It is sunny in Oslo."}]
    assert "sunny" in STRICT.chat.completions.parse(messages=messages, **asked).choices[0].message.content


@cell("chat.completions.stream with its events")
def stream():
    messages = [{"role": "user", "content": PERSON}]
    with STRICT.chat.completions.stream(
        model=MODEL, messages=messages, response_format=Person, temperature=0
    ) as streamed:
        kinds = {event.type for event in streamed}
        assert streamed.get_final_completion().choices[0].message.parsed == Person(name="Ann", age=30)
    assert {"chunk", "content.delta", "content.done"} <= kinds


@cell("responses.parse, responses.stream, functions")
def responses():
    said = STRICT.responses.parse(model=MODEL, input=PERSON, text_format=Person, temperature=0)
    assert said.output_parsed == Person(name="Ann", age=30)
    with STRICT.responses.stream(model=MODEL, input=PERSON, text_format=Person, temperature=0) as streamed:
        assert "response.output_text.done" in {event.type for event in streamed}
        assert streamed.get_final_response().output_parsed == Person(name="Ann", age=30)
    tool = {"type": "function", "name": "get_weather", "parameters": TOOL}
    said = STRICT.responses.create(model=MODEL, input=WEATHER, tools=[tool], temperature=0)
    (call,) = said.output
    assert json.loads(call.arguments) == {"city": "Oslo"}
    answer = {"type": "function_call_output", "call_id": call.call_id, "output": "It is sunny in Oslo."}
    back = [{"role": "user", "content": WEATHER}, *said.output, answer]
    assert "sunny" in STRICT.responses.create(model=MODEL, input=back, tools=[tool], temperature=0).output_text


@cell("asynchronous client")
async def asynchronous():
    client = AsyncOpenAI(_strict_response_validation=True, max_retries=0)
    messages = [{"role": "user", "content": "Hello"}]
    chunks = await client.chat.completions.create(model=MODEL, messages=messages, max_tokens=5, stream=True)
    assert [chunk async for chunk in chunks][-1].choices[0].finish_reason in ("stop", "length")
    assert [each.id async for each in client.models.list()]


@cell("AzureOpenAI: chats by deployment, files, jobs, responses")
def azure():
    os.environ.pop("OPENAI_BASE_URL", None)
    root = BASE_URL.removesuffix("/v1")
    for more in ({}, {"azure_deployment": MODEL}):
        client = AzureOpenAI(azure_endpoint=root, api_key=KEY, api_version="2024-10-21", max_retries=0, **more)
        messages = [{"role": "user", "content": "Hello"}]
        said = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=4)
        assert said.choices[0].finish_reason in ("stop", "length")
    client = AzureOpenAI(azure_endpoint=root, api_key=KEY, api_version="2025-04-01-preview", max_retries=0)
    assert client.responses.create(model=MODEL, input="Hello", max_output_tokens=4).output
    file = client.files.create(file=("rows.jsonl", calls.DATA), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model=BASE, training_file=file.id)
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    os.environ["OPENAI_BASE_URL"] = BASE_URL


main()
