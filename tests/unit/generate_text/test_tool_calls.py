"""Calls of tools in an answer's text: whole ones are told once, what is none stays content, nothing is lost."""

from __future__ import annotations

import dataclasses
import json
import sys
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from functions.generate_text.call_forms import read_form
from functions.generate_text.call_syntax import Call, CallSyntax, NoCallError, Parameters, parameters
from functions.generate_text.python_calls import PythonForm
from functions.generate_text.tool_calls import CallForm, CallReader

_TAIL = "{{ '<|end|>\n' }}{%- endfor %}"
_HEAD = """{{ tools | tojson }}{%- for m in messages %}<|{{ m.role }}|>{{ m.content or '' }}"""
TEMPLATES = {
    "JSON in tags": _HEAD
    + """{%- for c in m.tool_calls %}
<call>
{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}
</call>{%- endfor %}"""
    + _TAIL,
    "a list of JSON": _HEAD
    + """{%- if m.tool_calls %}[CALLS][{%- for c in m.tool_calls %}{"name": "{{ c.function.name }}", "parameters":
 {{ c.function.arguments | tojson }}, "id": "{{ c.id }}"}{{ ', ' if not loop.last }}{%- endfor %}]{%- endif %}"""
    + _TAIL,
    "the name is the key": _HEAD
    + """{%- if m.tool_calls %}<|tools|>[{%- for c in m.tool_calls %}{"{{ c.function.name }}":
 {{ c.function.arguments | tojson }}}{{ ', ' if not loop.last }}{%- endfor %}]<|/tools|>{%- endif %}"""
    + _TAIL,
    "a name and JSON": _HEAD
    + """{%- for c in m.tool_calls %}[CALL]{{ c.function.name }}[ID]{{ c.id }}[ARGS]
{{- c.function.arguments | tojson }}{%- endfor %}"""
    + _TAIL,
    "tagged arguments": _HEAD
    + """{%- for c in m.tool_calls %}
<call>
<function={{ c.function.name }}>
{%- for k, v in c.function.arguments.items() %}
<parameter={{ k }}>
{{ v if v is string else v | tojson }}
</parameter>
{%- endfor %}
</function>
</call>{%- endfor %}"""
    + _TAIL,
    "Python": _HEAD
    + """{%- if m.tool_calls %}<|calls|>[{%- for c in m.tool_calls %}{{ c.function.name }}(
{%- for k, v in c.function.arguments.items() %}{{ k }}={{ v | tojson }}{{ ', ' if not loop.last }}{%- endfor %})
{{- ', ' if not loop.last }}{%- endfor %}]<|/calls|>{%- endif %}"""
    + _TAIL,
    "a section of tagged arguments": _HEAD
    + """{%- if m.tool_calls %}<calls>
{%- for c in m.tool_calls %}
<invoke name="{{ c.function.name }}">
{%- for k, v in c.function.arguments.items() %}
<value of="{{ k }}" text="{{ 'true' if v is string else 'false' }}">{{ v if v is string else v | tojson }}</value>
{%- endfor %}
</invoke>{%- endfor %}
</calls>{%- endif %}"""
    + _TAIL,
}
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "days": {"type": "integer"},
                    "more": {"type": "object"},
                    "tags": {"type": "array"},
                },
            },
        },
    }
    for name in ("get_weather", "find-docs")
]
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "city": st.text(st.characters(codec="utf-8", exclude_characters="<>\0", exclude_categories=["C", "Z"])),
        "days": st.integers(-(10**9), 10**9),
        "more": st.dictionaries(st.text("abc", min_size=1), st.booleans() | st.none() | st.text("xy, {}[]")),
        "tags": st.lists(st.text("pq ,")),
    },
)
CALLS = st.lists(st.tuples(st.sampled_from(["get_weather", "find-docs"]), ARGUMENTS), min_size=1, max_size=3)


def rendered(source: str, *messages: dict[str, Any], tools: Any = TOOLS) -> str:
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    env.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return env.from_string(source).render(messages=messages, tools=tools)


ASKED = {"role": "user", "content": "Hm?"}


def turn(source: str, message: dict[str, Any], tools: Any) -> str:
    """What the template writes of a message behind the prompt."""
    before = rendered(source, ASKED, tools=tools) + "<|assistant|>"
    return rendered(source, ASKED, message, tools=tools).removeprefix(before)


def form_of(source: str) -> CallForm:
    form = read_form(partial(turn, source))
    assert form is not None
    return form


FORMS = {name: form_of(source) for name, source in TEMPLATES.items()}


def answer(source: str, calls: list[tuple[str, dict[str, Any]]]) -> str:
    """What a model that was tuned on these calls writes."""
    shown = [
        {"id": f"call{nth}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for nth, (name, arguments) in enumerate(calls)
    ]
    return turn(source, {"role": "assistant", "tool_calls": shown}, TOOLS).removesuffix("<|end|>\n")


def read(form: CallForm, text: str, size: int, most: int | None = None) -> tuple[str, list[tuple[str, Any]]]:
    """Content and calls of a text that comes in pieces of `size` characters."""
    reader = CallReader(form, TOOLS, most)
    told = [reader.add(text[at : at + size]) for at in range(0, len(text), size)]
    told.append(reader.end())
    calls = [call for _, more in told for call in more]
    return "".join(content for content, _ in told), [(call.name, json.loads(call.arguments)) for call in calls]


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=25)
@given(calls=CALLS, size=st.integers(1, 40))
def test_what_a_template_writes_is_read_back(name: str, calls: list[tuple[str, dict[str, Any]]], size: int) -> None:
    written = answer(TEMPLATES[name], calls)
    assert read(FORMS[name], written, size) == ("", calls)
    assert read(FORMS[name], "I look.\n\n" + written.lstrip(), size) == ("I look.", calls)


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=25)
@given(text=st.text('ab <[{\n}]>:"'), size=st.integers(1, 9))
def test_an_answer_without_calls_is_content_letter_by_letter(name: str, text: str, size: int) -> None:
    assert read(FORMS[name], text, size) == (text, [])


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_call_that_breaks_off_is_content(name: str) -> None:
    written = answer(TEMPLATES[name], [("get_weather", {"city": "Berlin"})]).lstrip()
    broken = written[: written.index("Berlin") + 3]
    assert read(FORMS[name], broken, 4) == (broken, [])


def test_of_several_calls_only_as_many_are_told_as_are_wanted() -> None:
    calls: list[tuple[str, Any]] = [("get_weather", {"city": "Ulm"}), ("find-docs", {})]
    assert read(FORMS["JSON in tags"], answer(TEMPLATES["JSON in tags"], calls), 5, most=1) == ("", calls[:1])


def test_a_call_is_told_as_soon_as_it_is_whole() -> None:
    written = answer(TEMPLATES["JSON in tags"], [("get_weather", {"city": "Ulm"}), ("find-docs", {"days": 2})])
    reader = CallReader(FORMS["JSON in tags"], TOOLS)
    first = written.index("</call>")
    assert reader.add(written[:first])[1] == [Call("get_weather", '{"city": "Ulm"}')]
    assert reader.add(written[first:])[1] == [Call("find-docs", '{"days": 2}')]


def test_a_bare_object_is_a_call_only_of_a_tool_that_there_is() -> None:
    source = (
        _HEAD
        + """{%- for c in m.tool_calls %}{{ '{"name": "' + c.function.name + '", "parameters": ' }}
{{- c.function.arguments | tojson }}{{ '}' }}{%- endfor %}"""
        + _TAIL
    )
    form = form_of(source)
    assert read(form, '{"name": "get_weather", "parameters": {"city": "Ulm"}}', 3) == (
        "",
        [("get_weather", {"city": "Ulm"})],
    )
    other = '{"name": "Ulm", "parameters": {"inhabitants": 128928}}'
    assert read(form, other, 3) == (other, [])
    assert read(form, "{1, 2} is a set", 3) == ("{1, 2} is a set", [])


def test_a_template_that_shows_no_calls_has_no_form() -> None:
    assert read_form(partial(turn, _HEAD + _TAIL)) is None


class Counting:
    """A form that counts at how many characters it is made to look."""

    def __init__(self, form: CallSyntax) -> None:
        self.form, self.looked, self.marks = form, 0, form.marks

    def take(self, text: str, at: int, types: Parameters) -> tuple[Call, int]:
        self.looked += len(text) - at
        return self.form.take(text, at, types)


ENDLESS = ("so ", '"', "'", "\\", '\\"', ", ", "]", "}", ")", "{", "[(", "x=1, ", '", "a": "', "</call>", "<|calls|>[")
"""What a model may repeat for ever within a call."""


@pytest.mark.parametrize("rest", ENDLESS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_call_that_never_ends_is_not_looked_at_anew_with_every_token(name: str, rest: str) -> None:
    begun = answer(TEMPLATES[name], [("get_weather", {"city": "Ulm"})]).partition("Ulm")[0]
    counting = Counting(FORMS[name].form)
    reader = CallReader(dataclasses.replace(FORMS[name], form=counting), TOOLS)
    reader.add(begun)
    pieces = 60_000 // len(rest) // 8
    for _ in range(pieces):
        reader.add(rest * 8)
    reader.end()
    assert counting.looked <= 2**20 + 12 * 60_000  # not 60,000 for each of the pieces


@pytest.mark.parametrize("rest", ENDLESS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_twice_as_long_a_call_takes_twice_the_steps(name: str, rest: str) -> None:
    begun = answer(TEMPLATES[name], [("get_weather", {"more": {"a": "Ulm"}})]).partition("Ulm")[0]
    form = FORMS[name]

    def steps(times: int) -> int:
        """Lines of Python that are run to look for a call once."""
        text, count = begun + rest * times, 0

        def trace(frame: FrameType, event: str, _value: object) -> Any:
            if "functions" not in Path(frame.f_code.co_filename).parts:
                return None  # a pattern that re has forgotten is compiled again, in lines of its own
            nonlocal count
            count += event == "line"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            list(form.calls(text, form.begin(text, parameters(TOOLS)), parameters(TOOLS)))
        finally:
            sys.settrace(before)
        return count

    assert steps(800) <= 2.2 * steps(400) + 100


@pytest.mark.parametrize(
    "value", ['b"x"', "{(1, 2): 3}", "{1, 2}", "...", "1j", "open", "f()", "1e999", "[" * 300 + "]" * 300]
)
def test_a_value_of_python_that_json_has_not_makes_no_call(value: str) -> None:
    written = f"<|calls|>[get_weather(city={value})]<|/calls|>"
    assert read(FORMS["Python"], written, 5) == (written, [])


def test_what_python_writes_otherwise_than_json_is_read() -> None:
    written = "<|calls|>[get_weather(from='it\\'s', class=True, more={'a': None, \"b\": true}, x-y=(1, 2))]"
    arguments = {"from": "it's", "class": True, "more": {"a": None, "b": True}, "x-y": [1, 2]}
    assert read(FORMS["Python"], written, 3) == ("", [("get_weather", arguments)])


def test_half_a_letter_is_told_as_what_can_be_sent() -> None:
    written = '\n<call>\n{"name": "get_weather", "arguments": {"city": "\\ud83d\\ude00 \\ud83d"}}\n</call>'
    assert read(FORMS["JSON in tags"], written, 4) == ("", [("get_weather", {"city": "😀 \ufffd"})])


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("find(place='it's', days=3)", {"place": "it's", "days": 3}),
        ("find(place='a', days=7, b=\"c', days=1)", {"place": "a', days=7, b=\"c", "days": 1}),
        ("find(place='Ulm', colour='red')", {"place": "Ulm", "colour": "red"}),
        ("find(colour='red')", {"colour": "red"}),
    ],
)
def test_texts_without_escapes_end_where_the_rest_is_a_call(text: str, arguments: dict[str, Any]) -> None:
    call, end = PythonForm(raw=True).take(text, 0, {})
    assert (json.loads(call.arguments), end) == (arguments, len(text))


@pytest.mark.parametrize("raw", [False, True])
def test_a_call_of_more_arguments_than_can_be_read_is_none(raw: bool) -> None:
    text = f"find({', '.join(f'k{nth}=1' for nth in range(5000))})"
    with pytest.raises(NoCallError):
        PythonForm(raw=raw).take(text, 0, {})
