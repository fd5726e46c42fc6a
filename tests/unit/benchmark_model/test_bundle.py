"""What a benchmark bundle holds, and what `temper bundle check` says of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from functions.benchmark_model.harness.bundle import FAMILIES, OWN, BundleError, Part, inspect, missing
from functions.benchmark_model.harness.tasks import config
from functions.benchmark_model.tasks import make
from infra.cli.main import temper
from tests.bundle import build, write

QUESTION = {"question": "Which?", "choices": ["a", "b", "c", "d"], "answer": 1}


def only(folder: Path) -> Part:
    (part,) = inspect(folder)
    return part


def test_a_whole_bundle_is_usable_with_items_and_hashes(tmp_path: Path) -> None:
    parts = inspect(build(tmp_path, rows=6))
    assert [part.task for part in parts] == [
        "arc_challenge",
        "gpqa",
        "hellaswag",
        "mmlu_abstract_algebra",
        "mmlu_care_of_kettles",
    ]
    assert all(part.usable and part.items == 6 for part in parts)
    assert len({part.sha256 for part in parts}) == 5
    assert missing(parts) == []


def test_the_hash_follows_the_data_and_not_the_name(tmp_path: Path) -> None:
    write(tmp_path / "a" / "mmlu" / "x" / "test.jsonl", [QUESTION])
    write(tmp_path / "b" / "mmlu" / "y" / "test.jsonl", [QUESTION])
    write(tmp_path / "c" / "mmlu" / "y" / "test.jsonl", [{**QUESTION, "answer": 2}])
    a, b, c = (only(tmp_path / name).sha256 for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"answer": 4}, "row 2: 'answer' should be 0 to 3, and is '4'"),
        ({"choices": ["a", "b", "c"]}, "row 2: 'choices' should be four texts"),
        ({"question": " "}, "row 2: 'question' should be text"),
        ({"answer": None}, "row 2: 'answer' should be 0 to 3, and is 'None'"),
    ],
)
def test_a_wrong_value_is_named_with_file_row_and_column(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    write(tmp_path / "mmlu" / "x" / "test.jsonl", [QUESTION, {**QUESTION, **change}])
    part = only(tmp_path)
    assert not part.usable
    assert problem in part.problems[0]
    assert part.problems[0].startswith("test.jsonl ")


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    write(tmp_path / "arc_challenge" / "test.parquet", [{"question": "Which?", "choices": ["a", "b"]}])
    assert only(tmp_path).problems == ("test.parquet row 1: lacks the column 'answerKey' (it has choices, question)",)


def test_splits_of_several_formats_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "mmlu" / "x" / "test.parquet", [QUESTION])
    write(tmp_path / "mmlu" / "x" / "dev.jsonl", [QUESTION])
    assert "several formats" in only(tmp_path).problems[0]


def test_a_right_label_that_is_no_label_is_refused(tmp_path: Path) -> None:
    row = {"question": "Which?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "C"}
    write(tmp_path / "arc_challenge" / "test.jsonl", [row])
    assert "'answerKey' 'C' is none of the labels" in only(tmp_path).problems[0]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"[1]\n", b"{", b"\xff\xfe{}", b"null\n"])
def test_what_is_no_rows_is_refused_with_a_sentence(tmp_path: Path, content: bytes) -> None:
    for name in ("hellaswag/validation.jsonl", "gpqa/train.parquet"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(content)
    assert len(inspect(tmp_path)) == 2
    assert all(part.problems and not part.usable for part in inspect(tmp_path))


def test_a_benchmark_without_its_split_says_which_files_it_wants(tmp_path: Path) -> None:
    (tmp_path / "hellaswag").mkdir()
    assert only(tmp_path).problems == ("hellaswag/ has no validation.jsonl and no validation.parquet",)


@given(st.dictionaries(st.sampled_from(["question", "choices", "answer"]), st.none() | st.integers() | st.text()))
def test_no_row_breaks_the_check(tmp_path_factory: pytest.TempPathFactory, row: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("any")
    write(folder / "mmlu" / "x" / "test.jsonl", [row])
    assert only(folder).problems


YAML = """
task: mine
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: multiple_choice
process_docs: !function helper.process
doc_to_text: "{{question}}"
metric_list: [{metric: acc_norm}]
"""


def test_a_yaml_of_the_bundle_is_a_task_with_its_data_beside_it(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.yaml").write_text(YAML, "utf-8")
    write(tmp_path / "own" / "rows.jsonl", [{"question": "Why?"}])
    part = only(tmp_path)
    assert (part.task, part.items, part.metric, part.problems) == ("mine", 1, "acc_norm", ())
    told = config(part, Path("unused"), {"mine": 3})
    assert told["include"] == str(tmp_path / "own" / "mine.yaml")
    assert told["dataset_kwargs"] == {"data_files": {"test": [str(tmp_path / "own" / "rows.jsonl")]}}
    assert told["num_fewshot"] == 3


def test_the_hash_of_a_yaml_follows_what_it_includes_and_its_code(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("include: _common\ntask: mine\n", "utf-8")
    write(tmp_path / "rows.jsonl", [{"question": "Why?"}])
    hashes = []
    for common, code in ((YAML, ""), (YAML + "num_fewshot: 1\n", ""), (YAML, "def process(docs): return docs\n")):
        (tmp_path / "_common").write_text(common, "utf-8")
        (tmp_path / "helper.py").write_text(code, "utf-8")
        assert only(tmp_path).usable
        hashes.append(only(tmp_path).sha256)
    assert len(set(hashes)) == 3


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("dataset_path: json", "dataset_path: someone/data", "'someone/data' would be downloaded"),
        ("rows.jsonl", "others.jsonl", "others.jsonl is not there"),
        ("test_split: test", "test_split: validation", "no split 'validation'"),
        ("test_split: test", "", "names no test_split"),
        ("dataset_kwargs: {data_files: {test: rows.jsonl}}", "", "must say which file each split is"),
    ],
)
def test_a_yaml_that_cannot_be_used_says_why(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert old in YAML
    (tmp_path / "mine.yaml").write_text(YAML.replace(old, new), "utf-8")
    write(tmp_path / "rows.jsonl", [{"question": "Why?"}])
    assert problem in only(tmp_path).problems[0]


def test_a_broken_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("task: [", "utf-8")
    assert "mine.yaml is no YAML" in only(tmp_path).problems[0]


def test_a_yaml_that_includes_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("include: mine.yaml\ntask: mine\n", "utf-8")
    assert "includes itself" in only(tmp_path).problems[0]


def test_two_tasks_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(YAML, "utf-8")
    write(tmp_path / "rows.jsonl", [{"question": "Why?"}])
    with pytest.raises(BundleError, match="more than one task 'mine'"):
        inspect(tmp_path)


def test_few_shot_examples_are_taken_where_the_bundle_has_some(tmp_path: Path) -> None:
    write(tmp_path / "mmlu" / "x" / "test.jsonl", [QUESTION])
    assert config(only(tmp_path), tmp_path, {})["num_fewshot"] == 0
    write(tmp_path / "mmlu" / "x" / "dev.jsonl", [QUESTION])
    told = config(only(tmp_path), tmp_path, {})
    assert (told["num_fewshot"], told["fewshot_split"]) == (5, "dev")
    assert "about x.\n\n" in told["description"]


def test_the_tasks_that_ship_are_what_their_script_makes() -> None:
    for name, content in make.files():
        assert (OWN / name).read_text("utf-8") == content
    parts = inspect(OWN)
    assert {part.task: part.items for part in parts} == {"temper_arithmetic": 64, "temper_reading": 64}
    assert all(part.usable for part in parts)


def test_the_right_result_is_the_one_named() -> None:
    (content,) = [content for name, content in make.files() if name == "arithmetic/test.jsonl"]
    for line in content.splitlines():
        row = json.loads(line)
        a, sign, b = row["question"].removeprefix("What is ").removesuffix("?").split()
        result = {"+": int(a) + int(b), "-": int(a) - int(b), "×": int(a) * int(b)}[sign]
        assert row["choices"][row["answer"]] == str(result)
        assert len(set(row["choices"])) == 4


def test_the_command_shows_every_task_and_what_is_not_there(tmp_path: Path) -> None:
    write(tmp_path / "mmlu" / "law" / "test.jsonl", [QUESTION])
    write(tmp_path / "mmlu" / "music" / "test.jsonl", [{**QUESTION, "answer": 9}])
    said = CliRunner().invoke(temper, ["bundle", "check", str(tmp_path)], terminal_width=200)
    assert said.exit_code == 0, said.output
    assert "mmlu_law" in said.output
    assert "usable" in said.output
    assert "Not there: hellaswag, arc_challenge, gpqa." in said.output
    told = json.loads(CliRunner().invoke(temper, ["bundle", "check", str(tmp_path), "--json"]).output)
    assert [(task["task"], task["usable"]) for task in told["tasks"]] == [("mmlu_law", True), ("mmlu_music", False)]
    assert told["missing"] == [family.name for family in FAMILIES if family.name != "mmlu"]


@pytest.mark.parametrize("name", ["empty", "absent", "broken"])
def test_the_command_fails_when_nothing_can_be_used(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "broken" / "mmlu" / "law" / "test.jsonl", [{}])
    assert CliRunner().invoke(temper, ["bundle", "check", str(tmp_path / name)]).exit_code == 1
