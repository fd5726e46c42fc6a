"""instructor: every mode that it has for OpenAI; whole, asked again after a refusal of ours, streamed in parts."""

from collections.abc import Iterable

import instructor
from cells import MODEL, PERSON, cell, main
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel, field_validator

refusals = []


class Person(BaseModel):
    name: str
    age: int


class Stubborn(Person):
    """Refused the first time."""

    @field_validator("age")
    @classmethod
    def _not_at_once(cls, age):
        if not refusals:
            refusals.append(age)
            raise ValueError("look again")
        return age


def client(mode):
    """A patched client."""
    return instructor.from_openai(OpenAI(max_retries=0), mode=mode)


def ask(mode, model, **options):
    """One question to a patched client."""
    room = {"max_output_tokens" if "responses" in mode.value else "max_tokens": 200}
    messages = [{"role": "user", "content": PERSON}]
    asked = {"model": MODEL, "messages": messages, "temperature": 0, **room, **options}
    return client(mode).create(response_model=model, **asked)


ALL = [
    instructor.Mode.TOOLS,
    instructor.Mode.TOOLS_STRICT,
    instructor.Mode.FUNCTIONS,
    instructor.Mode.JSON,
    instructor.Mode.JSON_O1,
    instructor.Mode.JSON_SCHEMA,
    instructor.Mode.MD_JSON,
    instructor.Mode.RESPONSES_TOOLS,
    instructor.Mode.RESPONSES_TOOLS_WITH_INBUILT_TOOLS,
]
for each in ALL:

    @cell(f"{each.name}: a parsed object")
    def whole(mode=each):
        assert isinstance(ask(mode, Person), Person)

    @cell(f"{each.name}: asked again after a refusal of ours")
    def again(mode=each):
        refusals.clear()
        assert isinstance(ask(mode, Stubborn, max_retries=2), Stubborn)
        assert refusals

    @cell(f"{each.name}: streamed in parts")
    def partial(mode=each):
        *_, last = ask(mode, instructor.Partial[Person], stream=True)
        assert isinstance(last.name, str)
        assert isinstance(last.age, int)


@cell("PARALLEL_TOOLS: objects of a list")
def parallel():
    found = list(ask(instructor.Mode.PARALLEL_TOOLS, Iterable[Person]))
    assert found
    assert all(isinstance(each, Person) for each in found)


@cell("TOOLS: create_iterable")
def iterable():
    messages = [{"role": "user", "content": PERSON}]
    asked = {"model": MODEL, "messages": messages, "temperature": 0, "max_tokens": 200}
    for person in client(instructor.Mode.TOOLS).create_iterable(response_model=Person, **asked):
        assert isinstance(person, Person)


@cell("TOOLS: asynchronous")
async def asynchronous():
    patched = instructor.from_openai(AsyncOpenAI(max_retries=0))
    messages = [{"role": "user", "content": PERSON}]
    found = await patched.create(model=MODEL, messages=messages, response_model=Person, max_tokens=200)
    assert isinstance(found, Person)


main()
