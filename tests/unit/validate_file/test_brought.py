"""Files as users bring them: saved by spreadsheets, shells and scripts, dumped from replies of an API."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.validate_file.test_rows import CALL, TOOL, answer, chat, user, verdict

_BESIDE = (each / "shared" / "data" / "bugs" for each in Path(__file__).parents)
BUGS = next((each for each in _BESIDE if each.is_dir()), Path("nowhere"))
brought = pytest.mark.skipif(not BUGS.is_dir(), reason="the files that users brought are not beside the checkout")


def refused(data: bytes | str) -> tuple[str, str]:
    found, _ = verdict(data)
    assert not found["ok"], found
    return found["code"], found["message"]


@brought
@pytest.mark.parametrize(
    "name",
    [
        "01-null-fields/calls.jsonl",
        "01-null-fields/calls-sorted.jsonl",
        "01-null-fields/first-without-tools.jsonl",
        "01-null-fields/functions.jsonl",
        "01-null-fields/rows.jsonl",
        "01-null-fields/weight0-call-sorted.jsonl",
        "04-empty-prompt/rows.jsonl",
        "05-separator-completions/rows.jsonl",
        "06-semicolon-csv/comma.csv",
        "06-semicolon-csv/comma-cp1252.csv",
        "06-semicolon-csv/semicolon.csv",
        "07-pretty-json/list.json",
    ],
)
def test_what_users_brought_is_read(name: str) -> None:
    found, written = verdict((BUGS / name).read_bytes())
    assert found["ok"], found
    assert len(written) == found["rows"] >= 10
    assert '"refusal"' not in json.dumps(written)


@brought
def test_a_table_is_the_same_whatever_a_spreadsheet_saved_it_as() -> None:
    saved = [verdict((BUGS / "06-semicolon-csv" / name).read_bytes())[1] for name in TABLES]
    assert saved[0] == saved[1] == saved[2]
    assert saved[0][0]["messages"][1]["content"] == 'Locker 1 is red.\nEr heißt "0", größer als 3,5.'


TABLES = ("comma.csv", "semicolon.csv", "comma-cp1252.csv")


@brought
@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("06-semicolon-csv/extra-columns.csv", "bad_header", "Remove the column id, source"),
        ("06-semicolon-csv/repr-messages.csv", "invalid_json", "json.dumps"),
        ("07-pretty-json/objects.jsonl", "row_spans_lines", "a row is one line"),
        ("07-pretty-json/wrapped.json", "row_spans_lines", "('data'), but a row is one line"),
        ("07-pretty-json/wrapped-one-line.json", "unexpected_format", "('data'), but a row is one line"),
        ("07-pretty-json/glued.jsonl", "invalid_json", "Put a line break between rows"),
        ("07-pretty-json/array-lines.jsonl", "unexpected_format", 'a row is {"messages"'),
        ("08-other-encodings/cp1252.jsonl", "invalid_utf8", "line 1, byte 51. It looks like windows-1252"),
        ("08-other-encodings/utf16.jsonl", "utf16", "The file is UTF-16"),
        ("08-other-encodings/rows.jsonl.gz", "unsupported_file", "compressed by gzip. Unpack it"),
        ("08-other-encodings/parquet.jsonl", "unsupported_file", "a Parquet table"),
    ],
)
def test_what_cannot_be_read_is_named_with_what_to_do(name: str, code: str, words: str) -> None:
    found = refused((BUGS / name).read_bytes())
    assert found[0] == code
    assert words in found[1]


def test_a_file_spread_over_lines_has_one_error() -> None:
    pretty = "\n".join(json.dumps(json.loads(chat(user(), answer())), indent=2) for _ in range(5))
    found, _ = verdict(pretty)
    assert (found["code"], found["n_errors"]) == ("row_spans_lines", 1)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("named", ["", "sep={}{}"])
def test_whatever_stands_between_cells_and_ends_lines(named: str, delimiter: str, end: str) -> None:
    text = f"{named.format(delimiter, end)}Prompt {delimiter}\ufeffCompletion".replace("\ufeff", "")
    rows = [f'"Wie viel{delimiter} Herr ""O""?"{delimiter}"3,5 bis 4;5"', f"{delimiter}", f"a{delimiter}b{delimiter}"]
    found, written = verdict(end.join([text, *rows, ""]))
    assert found["ok"], found
    said = [[message["content"] for message in row["messages"]] for row in written]
    assert said == [[f'Wie viel{delimiter} Herr "O"?', "3,5 bis 4;5"], ["a", "b"]]


def test_a_table_of_german_windows_is_read_and_says_so() -> None:
    text = "Wie heißt die Tür? Größer als 3 €, „gut“ – Übung."
    found, written = verdict(f"prompt;completion\r\nq;a\r\n{text};Ja\r\n".encode("cp1252"))
    assert found["ok"], found
    assert found["encoding"] == "windows-1252"
    assert written[1]["messages"][0]["content"] == text


@pytest.mark.parametrize(
    ("text", "encoding", "looks"),
    [
        ("Где находится ключ от двери? Он лежит на столе.", "cp1251", "windows-1251"),
        ("Zażółć gęślą jaźń, gdzie jest klucz?", "cp1250", "windows-1250"),
        ("Hol van a kulcs? Az őrült űrhajós asztalán.", "cp1250", "windows-125"),  # letters of 1252, and others
        ("Où est la clé déjà posée à côté? Très bien, l’élève.", "cp1252", "windows-1252"),
        ("Где находится ключ от двери? Он лежит на столе.", "koi8-r", "KOI8-R"),
    ],
)
@pytest.mark.parametrize("row", ['{{"prompt": "{}", "completion": "a"}}', "prompt;completion\n{};a"])
def test_another_encoding_is_named_and_not_guessed(row: str, text: str, encoding: str, looks: str) -> None:
    code, message = refused(row.format(text).encode(encoding))
    assert code == "invalid_utf8"
    assert looks in message
    assert "Save" in message


def test_a_table_that_changes_its_encoding_is_refused() -> None:
    code, message = refused("prompt,completion\nGrün,a\n".encode() + "Blaß wie Grün,b\n".encode("cp1252"))
    assert code == "invalid_utf8"
    assert "line 3" in message


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", [chat(user(), answer()), "prompt\tcompletion\na\tb\n"])
def test_wide_text_is_named_with_and_without_its_mark(text: str, coding: str) -> None:
    code, message = refused(text.encode(coding))
    assert code == "utf16"
    assert f"The file is {coding[:6].upper()}" in message


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (gzip.compress(b"{}", mtime=0), "gzip"),
        (b"BZh91AY", "bzip2"),
        (b"\xfd7zXZ\0\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"rows.jsonl".ljust(257, b"\0") + b"ustar\x0000", "tar"),
        (b"PAR1\x15\x04", "Parquet"),
        (b"SQLite format 3\0", "SQLite"),
        (b"\x80\x04\x95\x10", "pickle"),
    ],
)
def test_what_is_no_text_is_named(head: bytes, what: str) -> None:
    code, message = refused(head + bytes(300))
    assert code == "unsupported_file"
    assert what in message


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ('{"messages": [], "messages": []}', "duplicate_key", "the name 'messages' stands twice"),
        (chat(user(), answer()).replace('"role": "user"', '"role": "user", "role": "system"'), "duplicate_key", "role"),
        (chat(user(r"\u003a"), answer()).replace('"role"', '"role": "user", "role"', 1), "duplicate_key", "role"),
        ('{"prompt": "p", "completion": "c"},', "invalid_json", "rows are not separated by commas"),
        ('{"prompt": "p", "completion": "c",}', "invalid_json", "a comma too many"),
        ("{'prompt': 'p', 'completion': 'c'}", "invalid_json", "json.dumps"),
        ('{"prompt": "p", "completion": None}', "invalid_json", "json.dumps"),
        ('{"prompt": "p", "completion": "a\tb"}', "invalid_json", "control character"),
        ('{"prompt": "p", "completion": "c"', "invalid_json", "ends before its JSON does"),
        ("\0\0\0\0\0\0", "invalid_json", "a NUL byte"),
        ('{"prompt": "p", "completion": "\0"}', "invalid_json", "a NUL byte"),
        ('{"role": "user", "content": "q"}', "unexpected_format", '{"messages": [...]}'),
        ('{"conversations": [{"from": "human", "value": "q"}], "id": 1}', "unexpected_format", "ShareGPT"),
        ('{"conversations": [{"from": "human", "value": "q"}]}', "unexpected_format", "ShareGPT"),
        ('{"contents": [{"role": "user", "parts": []}]}', "unexpected_format", "Gemini"),
        ('{"prompt": "q", "chosen": "a", "rejected": "b"}', "unexpected_format", "preference pair"),
        ('{"prompt": "q", "response": "a"}', "unexpected_format", '"response" as "completion"'),
        ('{"instruction": "i", "input": "", "output": "o"}', "unexpected_format", "Alpaca"),
        ('{"text": "t", "meta": 1}', "unexpected_format", '"completion" behind an empty "prompt"'),
    ],
)
def test_a_line_that_is_no_row_says_why(line: str, code: str, words: str) -> None:
    good = '{"prompt": "p", "completion": "c"}'
    found, _ = verdict(f"{good}\n{line}\n{good}")
    assert (found["code"], found["errors"][0]["line"]) == (code, 2)
    assert words in found["errors"][0]["message"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"messages": [], "messages": []}]', "stands twice"),
        ('[{"prompt": "p", "completion": "c"},]', "a comma too many stands before the list's end at line 1"),
        ("[{'prompt': 1}]", "json.dumps"),
    ],
)
def test_a_list_that_is_none_says_why(text: str, words: str) -> None:
    assert words in refused(text)[1]


def test_names_that_look_alike_in_text_are_no_names_twice() -> None:
    said = r'{"role": "user", "role": "x"} \u003a :::'
    assert verdict(chat(user(said), answer("a:b")) + "\n" + chat(user(r"\u003a"), answer()))[0]["ok"]


def test_marks_in_the_middle_of_joined_files_are_left_out() -> None:
    assert verdict(f"\ufeff{chat(user(), answer())}\n\ufeff{chat(user(), answer())}\n")[0]["rows"] == 2


def test_an_error_behind_blank_lines_names_its_line() -> None:
    assert "Example 2 (line 4), message 1" in refused(f"{chat(user(), answer())}\n\n\n{chat(user(3), answer())}")[1]


def test_quoting_that_is_wrong_names_line_and_delimiter() -> None:
    code, message = refused('prompt;completion\na;b\nc;"d" e\n')
    assert code == "invalid_csv"
    assert "line 3" in message
    assert "semicolons" in message
    assert "Quote cells that hold semicolons" in refused("prompt;completion\na;b;c\n")[1]


# --- messages


def test_a_prompt_may_be_empty() -> None:
    found, written = verdict('{"prompt": "", "completion": " once"}\n{"prompt": "\\n", "completion": "x"}')
    assert found["ok"], found
    assert written[0]["messages"] == [user(""), answer(" once")]


DUMPED: dict[str, Any] = {
    "refusal": None,
    "audio": None,
    "annotations": [],
    "function_call": None,
    "provider_specific_fields": {},
}


def test_dumps_of_replies_say_what_they_say() -> None:
    cited = answer("a", **{**DUMPED, "annotations": [{"type": "url_citation", "url_citation": {"url": "x"}}]})
    called = {**answer(None, tool_calls=[{**CALL, "index": 0}]), **DUMPED}
    result = {"role": "tool", "tool_call_id": "c1", "name": "add", "content": [{"type": "text", "text": "2"}]}
    found, written = verdict(chat(user(), called, result, cited, tools=[TOOL], parallel_tool_calls=True))
    assert found["ok"], found
    assert [message["role"] for message in written[0]["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert written[0]["messages"][3] == answer("a")


@pytest.mark.parametrize(
    ("given", "kept"), [("", "{}"), ({}, "{}"), ({"b": 1, "a": "ü"}, '{"b": 1, "a": "ü"}'), ('{"a": 1}', '{"a": 1}')]
)
@pytest.mark.parametrize("legacy", [False, True])
def test_arguments_are_json_in_a_string_in_their_own_order(given: Any, kept: str, legacy: bool) -> None:
    function = {"name": "add", "arguments": given}
    call = {"function_call": function} if legacy else {"tool_calls": [{**CALL, "function": function}]}
    found, written = verdict(chat(user(), {"role": "assistant", "content": None, **call}))
    assert found["ok"], found
    assert written[0]["messages"][1]["tool_calls"][0]["function"]["arguments"] == kept


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant"])
def test_content_may_come_in_parts_in_every_role(role: str) -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    found, written = verdict(chat({"role": role, "content": parts, "name": "n"}, user(), answer(parts)))
    assert found["ok"], found
    assert [message["content"] for message in written[0]["messages"]] == ["one two", "q", "one two"]


def test_a_refusal_is_an_answer() -> None:
    part = [{"type": "refusal", "refusal": "No."}]
    for said in (answer(None, refusal="No."), answer(part)):
        assert verdict(chat(user(), said))[1][0]["messages"][1] == answer("No.")
    assert "both content and refusal" in refused(chat(user(), answer("a", refusal="No.")))[1]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_what_was_thought_is_kept_under_one_name(name: str) -> None:
    found, written = verdict(chat(user(), answer("a", **{name: "hm"})))
    assert found["ok"], found
    assert written[0]["messages"][1] == answer("a", reasoning_content="hm")
    assert refused(chat(user(), answer("a", **{name: ["hm"]})))[0] == "invalid_type"
