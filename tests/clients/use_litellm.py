"""LiteLLM: its calls against a server that speaks OpenAI's API, by the prefixes that its users write."""

import json
import tempfile
import time
from pathlib import Path

import litellm
from cells import BASE_URL, EMBEDDER, KEY, MODEL, PERSON, WEATHER, cell, main
from pydantic import BaseModel

litellm.suppress_debug_info = True
OWN = {"api_base": BASE_URL, "api_key": KEY, "max_retries": 0, "timeout": 60}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Tell the weather in a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


class Person(BaseModel):
    name: str
    age: int


def ask(text, prefix="openai", **options):
    """A chat."""
    messages = [{"role": "user", "content": text}]
    return litellm.completion(model=f"{prefix}/{MODEL}", messages=messages, temperature=0, **OWN, **options)


for each in ("openai", "hosted_vllm", "litellm_proxy", "custom_openai"):

    @cell(f"{each}/…: chat, whole and streamed")
    def chat(prefix=each):
        said = ask("Hello", prefix, max_tokens=20)
        chunks = list(ask("Hello", prefix, max_tokens=20, stream=True, stream_options={"include_usage": True}))
        assert (
            "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
            == said.choices[0].message.content
        )
        assert said.usage.completion_tokens > 0

    @cell(f"{each}/…: tools, whole and streamed")
    def tools(prefix=each):
        (call,) = ask(WEATHER, prefix, tools=TOOLS).choices[0].message.tool_calls
        assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Oslo"})
        whole = litellm.stream_chunk_builder(list(ask(WEATHER, prefix, tools=TOOLS, stream=True)))
        (call,) = whole.choices[0].message.tool_calls
        assert json.loads(call.function.arguments) == {"city": "Oslo"}

    @cell(f"{each}/…: response_format of a pydantic model")
    def structured(prefix=each):
        said = ask(PERSON, prefix, response_format=Person).choices[0].message.content
        assert Person.model_validate_json(said) == Person(name="Ann", age=30)


@cell("openai/…: tool_choice")
def choice():
    said = ask("Hello", tools=TOOLS, tool_choice={"type": "function", "function": {"name": "get_weather"}})
    assert said.choices[0].message.tool_calls[0].function.name == "get_weather"


@cell("openai/…: json_object")
def json_object():
    said = ask(f"As JSON: {PERSON}", response_format={"type": "json_object"}).choices[0].message.content
    assert isinstance(json.loads(said), dict)


@cell("asynchronous chat")
async def acompletion():
    messages = [{"role": "user", "content": "Hello"}]
    said = await litellm.acompletion(model=f"openai/{MODEL}", messages=messages, max_tokens=5, **OWN)
    assert said.choices


@cell("text completions")
def text():
    said = litellm.text_completion(model=f"text-completion-openai/{MODEL}", prompt="What is", max_tokens=4, **OWN)
    assert said.usage.completion_tokens > 0


@cell("responses(), whole, streamed, with a function")
def responses():
    asked = {"model": f"openai/{MODEL}", "temperature": 0, **OWN}
    assert litellm.responses(input="Hello", max_output_tokens=20, **asked).usage.output_tokens > 0
    kinds = [str(event.type.value) for event in litellm.responses(input="Hello", stream=True, **asked)]
    assert kinds[-1] == "response.completed"
    tool = {"type": "function", **TOOLS[0]["function"]}
    (call,) = litellm.responses(input=WEATHER, tools=[tool], **asked).output
    assert json.loads(call.arguments) == {"city": "Oslo"}


@cell("embeddings")
def embeddings():
    found = litellm.embedding(model=f"openai/{EMBEDDER}", input=["the red key", "the blue kettle"], **OWN)
    assert len(found.data) == 2
    assert len(found.data[0]["embedding"]) == 16


@cell("files and a fine-tuning job")
def jobs():
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        rows.write_text("\n".join([json.dumps(row)] * 10))
        own = {"custom_llm_provider": "openai", "api_base": BASE_URL, "api_key": KEY}
        with rows.open("rb") as content:
            file = litellm.create_file(file=content, purpose="fine-tune", **own)
    base = MODEL.split(":")[1]
    made = litellm.create_fine_tuning_job(model=base, training_file=file.id, **own)
    cancelled = litellm.cancel_fine_tuning_job(fine_tuning_job_id=made.id, **own)
    assert cancelled.status == "cancelled"


@cell("a batch of chats")
def batch():
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
    line = {"custom_id": "one", "method": "POST", "url": "/v1/chat/completions", "body": body}
    own = {"custom_llm_provider": "openai", "api_base": BASE_URL, "api_key": KEY}
    file = litellm.create_file(file=("requests.jsonl", json.dumps(line).encode()), purpose="batch", **own)
    asked = {"completion_window": "24h", "endpoint": "/v1/chat/completions", "input_file_id": file.id}
    made = litellm.create_batch(**asked, **own)
    until = time.monotonic() + 120
    while (found := litellm.retrieve_batch(batch_id=made.id, **own)).status not in ("completed", "failed"):
        assert time.monotonic() < until, found
        time.sleep(0.5)
    (answer,) = litellm.file_content(file_id=found.output_file_id, **own).text.splitlines()
    assert json.loads(answer)["custom_id"] == "one"


main()
