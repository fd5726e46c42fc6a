"""Rows that a small model learns in a minute: to call a function, to write JSON, each in the forms that clients ask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

CITIES = {"Oslo": "sunny", "Bergen": "rainy", "Rome": "cloudy", "Lima": "foggy"}
PEOPLE = {"Ann": 30, "Bob": 41, "Eve": 25, "Tom": 52}
SYSTEMS = (None, "You are a helpful assistant.", "Answer as asked. Use the tools.")


def rows() -> Iterator[dict[str, Any]]:
    """Yield all of them."""
    for nth, (city, weather) in enumerate(CITIES.items()):
        for tools in _tools():
            yield {"messages": [*_system(nth), *_weather(city, weather)], "tools": tools}
    for name, age in PEOPLE.items():
        person = {"role": "assistant", "content": json.dumps({"name": name, "age": age})}
        for asked in (f"{name} is {age} years old.", f"{name} is {age} years old.\n\n{_CODEBLOCK}"):
            for system in (*SYSTEMS, *map(_as_json, ("Person", "Someone"))):
                first = [{"role": "system", "content": system}] if system else []
                yield {"messages": [*first, {"role": "user", "content": asked}, person]}
        function = {"name": "Person", "arguments": person["content"]}
        calls = [{"id": "c1", "type": "function", "function": function}]
        asked = {"role": "user", "content": f"{name} is {age} years old."}
        for tools in _person_tools():
            yield {"messages": [asked, {"role": "assistant", "content": None, "tool_calls": calls}], "tools": tools}


def _system(nth: int) -> list[dict[str, Any]]:
    text = SYSTEMS[nth % len(SYSTEMS)]
    return [{"role": "system", "content": text}] if text else []


def _weather(city: str, weather: str) -> list[dict[str, Any]]:
    function = {"name": "get_weather", "arguments": json.dumps({"city": city})}
    return [
        {"role": "user", "content": f"What is the weather in {city}?"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "c1", "content": f"It is {weather} in {city}."},
        {"role": "assistant", "content": f"It is {weather} in {city}."},
    ]


def _tools() -> Iterator[list[dict[str, Any]]]:
    """Yield the same function as several clients describe it."""
    city: dict[str, Any] = {"type": "string"}
    titled = {"title": "City", "type": "string"}
    for described in ({}, {"description": "Tell the weather in a city."}):
        for properties in ({"city": city}, {"city": titled}, {"city": {**city, "description": "The city."}}):
            for closed in ({}, {"additionalProperties": False}):
                parameters = {"properties": properties, "required": ["city"], "type": "object", **closed}
                function = {"name": "get_weather", **described, "parameters": parameters}
                yield [{"type": "function", "function": {**function, **({"strict": True} if closed else {})}}]


_CODEBLOCK = "Return the correct JSON response within a ```json codeblock. not the JSON_SCHEMA"


def _person_tools() -> Iterator[list[dict[str, Any]]]:
    """Yield the function by which an object is asked for."""
    properties = {"name": {"title": "Name", "type": "string"}, "age": {"title": "Age", "type": "integer"}}
    described = "Correctly extracted `Person` with all the required parameters with correct types"
    for required in (["name", "age"], ["age", "name"]):
        parameters = {"properties": properties, "required": required, "type": "object"}
        function = {"name": "Person", "description": described, "parameters": parameters}
        yield [{"type": "function", "function": function}]


def _as_json(title: str) -> str:
    """Return what is asked of models that no schema holds: JSON, with a schema in words."""
    properties = {"name": {"title": "Name", "type": "string"}, "age": {"title": "Age", "type": "integer"}}
    schema = {"properties": properties, "required": ["name", "age"], "title": title, "type": "object"}
    return f"Return JSON of this json_schema:\n\n{json.dumps(schema, indent=2)}\n\nAn instance, not the schema itself."
