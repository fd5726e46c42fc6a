"""What the check of rows says of good and bad files."""

import io
import json
import tracemalloc
from typing import Any

import pytest

from functions.validate_file import check, row, rows


def verdict(data: bytes | str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the verdict and the rows that were written."""
    out = io.BytesIO()
    found = check.verdict(io.BytesIO(data if isinstance(data, bytes) else data.encode()), out, io.BytesIO())
    return found, [json.loads(line) for line in out.getvalue().splitlines()]


def chat(*turns: dict[str, Any], **more: Any) -> str:
    return json.dumps({"messages": list(turns), **more})


def user(content: Any = "q") -> dict[str, Any]:
    return {"role": "user", "content": content}


def answer(content: Any = "a", **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


def deep(levels: int) -> Any:
    """Arrays in arrays."""
    return json.loads("[" * levels + "]" * levels)


def called(arguments: str) -> dict[str, Any]:
    return {**CALL, "function": {"name": "add", "arguments": arguments}}


def test_tools_and_arguments_may_be_nested_as_deeply_as_requests() -> None:
    whole = chat(
        user(), answer(None, tool_calls=[called(json.dumps({"x": deep(63)}))]), tools=[{**TOOL, "x": deep(62)}]
    )
    assert verdict(whole)[0]["ok"] is True


def test_chats_become_canonical_rows_with_their_lines() -> None:
    data = chat(user(), answer(weight=0.0), user("again"), answer("b")) + "\n\n" + chat(user("é"), answer()) + "\n"
    found, written = verdict(data)
    assert found == {"ok": True, "format": "jsonl", "encoding": "utf-8", "shape": "chat", "rows": 2, "has_tools": False}
    assert [row["line"] for row in written] == [1, 3]
    assert written[0]["messages"][1] == {"role": "assistant", "content": "a", "weight": 0}
    assert written[1]["messages"][0]["content"] == "é"


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_bom_and_crlf_change_nothing(prefix: bytes, end: bytes) -> None:
    lines = [chat(user(), answer()).encode()] * 2
    csv = [b"prompt,completion", b'"a, b",c', b"d,e"]
    assert verdict(prefix + end.join(lines) + end)[0]["rows"] == 2
    assert verdict(prefix + b"[" + (b"," + end).join(lines) + b"]" + end)[0]["rows"] == 2
    assert verdict(prefix + end.join(csv))[1][0]["messages"][0]["content"] == "a, b"


def test_text_parts_are_joined_and_nulls_of_api_dumps_are_left_out() -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    dumped = answer("a", refusal=None, audio=None, annotations=[], tool_calls=None)
    written = verdict(chat(user(parts), dumped))[1]
    assert written[0]["messages"] == [user("one two"), answer()]


def test_functions_become_tools() -> None:
    call = {"role": "assistant", "content": None, "function_call": CALL["function"]}
    result = {"role": "function", "name": "add", "content": "2"}
    data = chat(user(), call, result, answer(), functions=[TOOL["function"]], parallel_tool_calls=False)
    found, written = verdict(data)
    assert found["has_tools"] is True
    assert written[0]["tools"] == [TOOL]
    assert written[0]["messages"][1]["tool_calls"][0]["id"] == written[0]["messages"][2]["tool_call_id"]


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("prompt,completion\np,c", [user("p"), answer("c")]),
        ("Completion, Prompt\nc,p", [user("p"), answer("c")]),
        ("question,answer\nq,a", [user("q"), answer("a")]),
        ('question,answer,context\nq,a,"some\ntext"', [user("some\ntext\n\nq"), answer("a")]),
        ("question,answer,context\nq,a,", [user("q"), answer("a")]),
        ('messages\n"[{""role"":""user"",""content"":""q""},{""role"":""assistant"",""content"":""a""}]"', None),
        ('{"prompt":"p","completion":"c"}', [user("p"), answer("c")]),
    ],
)
def test_tables_and_pairs_become_chats(text: str, messages: list[dict[str, Any]] | None) -> None:
    found, written = verdict(text)
    assert found["ok"], found
    assert written[0]["messages"] == (messages or [user(), answer()])


BAD_ROWS = [
    (chat({"content": "x"}, answer()), "missing_role", "messages[0].role"),
    (chat({"role": "narrator", "content": "x"}, answer()), "unknown_role", "messages[0].role"),
    (chat(user(""), answer()), "empty_content", "messages[0].content"),
    (chat(user(" \n"), answer()), "empty_content", "messages[0].content"),
    (chat(user(), {"role": "assistant"}), "empty_content", "messages[1].content"),
    (chat(user(3), answer()), "invalid_type", "messages[0].content"),
    (chat(user()), "no_assistant_turn", "messages"),
    (chat(user(), answer(), user()), "last_message", "messages[2]"),
    (chat(user(), answer(weight=0)), "no_trained_turn", "messages"),
    (chat(user(), answer(weight=0.5)), "invalid_weight", "messages[1].weight"),
    (chat(user(), answer(weight=2)), "invalid_weight", "messages[1].weight"),
    (chat(user(), answer(weight=True)), "invalid_weight", "messages[1].weight"),
    (chat({**user(), "weight": 1}, answer()), "unknown_key", "messages[0]"),
    (chat(user(), answer(), name="x"), "unknown_key", ""),
    (
        chat(user([{"type": "image_url", "image_url": {"url": "x"}}]), answer()),
        "unsupported_content",
        "messages[0].content[0]",
    ),
    (chat(user([{"type": "text"}]), answer()), "invalid_type", "messages[0].content[0]"),
    (chat(user(), answer(None, tool_calls=[])), "empty_content", "messages[1].content"),
    (chat(user(), answer(None, tool_calls=[{"id": "x"}])), "invalid_tool_call", "messages[1].tool_calls[0]"),
    (
        chat(user(), answer(None, tool_calls=[{**CALL, "function": {"name": "add", "arguments": "{"}}])),
        "invalid_tool_call",
        "messages[1].tool_calls[0]",
    ),
    (chat(user(), {"role": "tool", "content": "2"}, answer()), "missing_tool_call_id", "messages[1].tool_call_id"),
    (
        chat(user(), {"role": "tool", "content": "2", "tool_call_id": "c9"}, answer()),
        "unknown_tool_call",
        "messages[1].tool_call_id",
    ),
    (chat(user(), answer(), tools=[{"name": "add"}]), "invalid_tools", "tools[0]"),
    (chat(user(), answer(), functions=[TOOL["function"]] * 129), "invalid_tools", "functions"),
    (chat(user(), answer(), tools=[{**TOOL, "x": deep(64)}]), "invalid_tools", "tools"),
    (
        chat(user(), answer(None, tool_calls=[{**CALL, "x": deep(64)}], weight=0), answer()),
        "invalid_tool_call",
        "messages[1].tool_calls",
    ),
    (
        chat(user(), answer(None, tool_calls=[called(json.dumps({"x": deep(64)}))], weight=0), answer()),
        "invalid_tool_call",
        "messages[1].tool_calls[0]",
    ),
    (chat(user(), answer(), tools=[TOOL], functions=[TOOL["function"]]), "invalid_tools", "functions"),
    (chat(user(), answer(), parallel_tool_calls="no"), "invalid_type", "parallel_tool_calls"),
    (chat(user("\ud800"), answer()), "lone_surrogate", "messages[0].content"),
    (chat("hello", answer()), "invalid_type", "messages[0]"),  # type: ignore[arg-type]
    ('{"messages": []}', "invalid_type", "messages"),
    ('{"messages": {}}', "invalid_type", "messages"),
    ('{"text": "x"}', "unexpected_format", ""),
    ('{"input": {}, "preferred_output": [], "non_preferred_output": []}', "unsupported_format", ""),
    ('{"prompt": "x", "completion": " "}', "empty_content", "completion"),
    ('{"prompt": null, "completion": "x"}', "invalid_type", "prompt"),
    ('{"prompt": "x", "completion": null}', "invalid_type", "completion"),
    ('{"messages": [}', "invalid_json", ""),
    ('{"messages": NaN}', "invalid_json", ""),
    ('{"a": 1e999}', "invalid_json", ""),
    ("[" * 100_000, "invalid_json", ""),
    ("7", "not_an_object", ""),
]


@pytest.mark.parametrize(("line", "code", "path"), BAD_ROWS)
def test_a_bad_row_is_named_by_line_path_and_code(line: str, code: str, path: str) -> None:
    good = chat(user(), answer()) if "prompt" not in line else '{"prompt": "p", "completion": "c"}'
    found, written = verdict(f"{good}\n\n{line}\n{good}")
    assert not found["ok"]
    error = found["errors"][0]
    assert (error["line"], error["path"], error["code"]) == (3, path, code)
    assert error["message"].startswith("Example 2")
    assert found["message"].startswith("Invalid file format. Example 2")
    assert (found["code"], found["rows"], len(written)) == (code, 3, 1)


def test_a_missing_role_has_openais_wording() -> None:
    found, _ = verdict(chat(user(), {"content": "a"}))
    assert "Invalid file format. Example 1, message 2 Discriminator 'role' is missing in value" in found["message"]


def test_broken_json_names_line_and_column() -> None:
    found, _ = verdict(chat(user(), answer()) + '\n{"messages": [}')
    assert found["errors"][0]["line"] == 2
    assert "column 15" in found["errors"][0]["message"]


def test_bytes_that_are_no_utf8_are_named_by_line_and_byte() -> None:
    found, _ = verdict(chat(user(), answer()).encode() + b'\n{"messages": "\xff"}')
    assert (found["code"], found["errors"][0]["line"]) == ("invalid_utf8", 2)
    assert "byte 15" in found["errors"][0]["message"]
    for text, where in ((b"prompt,completion\na,\x81", "line 2, byte 3"), (b'[\n{"prompt":"\xff"}]', "byte 14")):
        found, _ = verdict(text)
        assert found["code"] == "invalid_utf8"
        assert where in found["message"]


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf16_is_named(coding: str) -> None:
    found, _ = verdict(chat(user(), answer()).encode(coding))
    assert found["code"] == "utf16"
    assert "Save it as UTF-8" in found["message"]


def test_a_file_of_something_else_is_told_by_how_it_begins() -> None:
    found, _ = verdict(b"<!DOCTYPE html>\n<html>\n")
    assert (found["code"], "begins with '<!DOCTYPE html>'" in found["message"]) == ("unknown_format", True)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_file"),
        (b"\xef\xbb\xbf \n\n", "empty_file"),
        (b"[]", "no_rows"),
        (b"prompt,completion\n", "no_rows"),
        (b"%PDF-1.7 something", "unknown_format"),
        (b"PK\x03\x04\x14\x00", "unknown_format"),
        (b"hello world\n", "unknown_format"),
        (b"prompt,reply\na,b", "bad_header"),
        (b"prompt,completion,prompt\na,b,c", "bad_header"),
        (b'prompt,completion\n"a,b', "invalid_csv"),
        (b"prompt,completion\na,b,c", "wrong_cells"),
        (b'messages\n"[{"', "invalid_json"),
        (b'[{"prompt": "p", "completion": "c"},]', "invalid_json"),
        (b'[{"prompt": "p", "completion": "c"} {"prompt"', "invalid_json"),
        (b'[{"prompt": "p", "completion": "c"}', "invalid_json"),
        (b'[{"prompt": "p", "completion": "c"}] x', "invalid_json"),
        (b'[{"prompt": "p", "completion": "\\ud800"}]', "lone_surrogate"),
        (b'{"prompt": "p", "completion": "c"}\n{"messages": [{"role":"assistant","content":"x"}]}', "mixed_shapes"),
    ],
)
def test_a_bad_file_has_a_code_and_a_sentence(data: bytes, code: str) -> None:
    found, _ = verdict(data)
    assert (found["ok"], found["code"]) == (False, code)
    assert found["message"].rstrip().endswith((".", ")"))


def test_every_row_is_checked_and_a_hundred_errors_are_shown() -> None:
    out = io.BytesIO()
    data = ("\n".join(["{}"] * 150)).encode()
    found = check.verdict(io.BytesIO(data), io.BytesIO(), out)
    assert (found["rows"], found["n_errors"], len(found["errors"])) == (150, 150, 100)
    assert len(out.getvalue().splitlines()) == 150
    assert "149 more errors" in found["message"]


def test_memory_stays_flat_on_a_line_of_200_megabytes() -> None:
    class Once(io.BytesIO):
        """A head that can be sought, then a filler without end until 200 MB."""

        def __init__(self) -> None:
            super().__init__(b'{"messages": "')
            self.made = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            head = super().readline(size)
            wanted = (size if size and size > 0 else 2**20) - len(head)
            filler = min(wanted, 200 * 10**6 - self.made)
            self.made += filler
            return head + b"x" * filler or b""

    tracemalloc.start()
    found = check.verdict(Once(), io.BytesIO(), io.BytesIO())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found["code"], found["errors"][0]["line"]) == ("row_too_long", 1)
    assert peak < 50 * 2**20


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv"])
def test_a_row_beyond_the_limit_is_named(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row, "ROW_BYTES", 1000)
    monkeypatch.setattr(rows, "CHUNK", 64)
    good, bad = chat(user(), answer()), chat(user("x" * 2000), answer())
    text = {
        "jsonl": f"{good}\n{bad}\n{good}",
        "json": f"[{good},\n{bad},\n{good}]",
        "csv": f"prompt,completion\na,b\n{'x' * 2000},c\nd,e",
    }[kind]
    found, _ = verdict(text)
    assert found["code"] == "row_too_long"
    assert "Example 2" in found["message"] or "line 3" in found["message"]
    assert found["rows"] == {"jsonl": 3, "json": 2, "csv": 1}[kind]


@pytest.mark.parametrize("chunk", [1, 2, 7, 64])
def test_rows_of_an_array_do_not_depend_on_where_reads_end(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "CHUNK", chunk)
    rows_in = [json.loads(chat(user(f'é "{n}" \\ 😀' * n + "x"), answer("]},{["))) for n in range(20)]
    found, written = verdict(json.dumps(rows_in, ensure_ascii=False, indent=1))
    assert found["ok"], found
    assert [row["messages"] for row in written] == [row["messages"] for row in rows_in]
    assert [row["line"] for row in written] == list(range(1, 21))
