"""openai-agents: agents on Responses and on chat completions; tools, handoffs, output types, sessions, streams."""

import asyncio

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    SQLiteSession,
    function_tool,
    set_tracing_disabled,
)
from cells import MODEL, PERSON, WEATHER, cell, main
from openai import AsyncOpenAI
from pydantic import BaseModel

set_tracing_disabled(True)
called = []


class Person(BaseModel):
    name: str
    age: int


@function_tool
def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    called.append(city)
    return f"It is sunny in {city}."


def agent(model, **options):
    """An agent, as its users have it."""
    kind = {"Responses": OpenAIResponsesModel, "chat completions": OpenAIChatCompletionsModel}[model]
    settings = options.pop("model_settings", ModelSettings(temperature=0))
    client = AsyncOpenAI(max_retries=0)
    return Agent("Helper", model=kind(model=MODEL, openai_client=client), model_settings=settings, **options)


for each in ("Responses", "chat completions"):

    @cell(f"{each}: the tool is called, its answer told")
    def tool(model=each):
        called.clear()
        done = Runner.run_sync(agent(model, tools=[get_weather]), WEATHER)
        assert called == ["Oslo"]
        assert "sunny" in done.final_output

    @cell(f"{each}: tool, streamed")
    async def streamed(model=each):
        called.clear()
        running = Runner.run_streamed(agent(model, tools=[get_weather]), WEATHER)
        kinds = [event.type async for event in running.stream_events()]
        assert called == ["Oslo"]
        assert "raw_response_event" in kinds
        assert "sunny" in running.final_output

    @cell(f"{each}: output_type")
    def output_type(model=each):
        done = Runner.run_sync(agent(model, output_type=Person), PERSON)
        assert done.final_output == Person(name="Ann", age=30)

    @cell(f"{each}: output_type beside tools")
    def output_beside_tools(model=each):
        done = Runner.run_sync(agent(model, output_type=Person, tools=[get_weather]), PERSON)
        assert isinstance(done.final_output, Person)

    @cell(f"{each}: a handoff that is forced")
    def handoff(model=each):
        other = agent(model, tools=[get_weather], handoff_description="Knows the weather.")
        other.name = "Weather"
        forced = ModelSettings(temperature=0, tool_choice="transfer_to_weather")
        first = agent(model, handoffs=[other], model_settings=forced)
        done = Runner.run_sync(first, WEATHER)
        assert done.last_agent.name == "Weather"

    @cell(f"{each}: tool_choice='required', one call at a time")
    def required(model=each):
        called.clear()
        settings = ModelSettings(temperature=0, tool_choice="required", parallel_tool_calls=False)
        Runner.run_sync(agent(model, tools=[get_weather], model_settings=settings), "Hello")
        assert len(called) == 1

    @cell(f"{each}: a session goes on")
    def session(model=each):
        kept = SQLiteSession("one")
        counts = []
        for _ in range(2):
            Runner.run_sync(agent(model, tools=[get_weather]), WEATHER, session=kept)
            counts.append(len(asyncio.run(kept.get_items())))
        assert counts[0] >= 4
        assert counts[1] >= counts[0] + 2


@cell("Responses: goes on from the response before")
def previous():
    called.clear()
    helper = agent("Responses", tools=[get_weather])
    first = Runner.run_sync(helper, WEATHER, auto_previous_response_id=True)
    second = Runner.run_sync(helper, WEATHER, previous_response_id=first.last_response_id)
    assert len(called) >= 1
    assert isinstance(second.final_output, str)


main()
