"""Graders as OpenAI's API says them: what each asks for, what is checked before anything is graded."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from contracts.wire.errors import ApiError, refuse, shown
from contracts.wire.request import Request
from contracts.wire.templates import TemplateError, check

MAX_TEXT = 2**16
"""Characters of a template."""
MAX_SOURCE = 2**18
MAX_MESSAGES = 64
MAX_LABELS = 100
MAX_GRADERS = 16
"""Of one that combines several."""
MAX_FORMULA = 1000
FUNCTIONS = frozenset(("min", "max", "abs", "floor", "ceil", "exp", "sqrt", "log"))
METRICS = (
    "fuzzy_match", "bleu", "gleu", "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l",
)  # fmt: skip
_NOT_HERE = {
    "cosine": "it compares embeddings, and a grader names no model that would make them",
    "meteor": "it needs WordNet, which would be downloaded",
}
_Read = TypeVar("_Read", bound=Request)


def _template(text: str) -> str:
    try:
        check(text)
    except TemplateError as error:
        raise refuse("invalid_template", f"Invalid '{{param}}': {error}") from None
    return text


Template = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_template)]
"""Text with `{{ item.… }}` and `{{ sample.… }}` in it."""


def _text(content: Any) -> Any:
    """Return the text of a message's content: a text, a part of one, or several."""
    if isinstance(content, dict):
        if content.get("type") not in ("input_text", "output_text", "text"):
            kind = shown(content.get("type"))
            raise refuse("unsupported", f"Invalid '{{param}}': content of the type {kind} is not served, only text.")
        return content.get("text")
    if isinstance(content, list | tuple):
        texts = [_text(each) for each in content[: MAX_MESSAGES + 1]]
        if len(texts) > MAX_MESSAGES or not all(isinstance(each, str) for each in texts):
            raise refuse("invalid_value", f"Invalid '{{param}}': expected at most {MAX_MESSAGES} parts of text.")
        return "".join(texts)
    return content


class GraderMessage(Request):
    """A message of a conversation, with templates in it."""

    role: Literal["user", "assistant", "system", "developer"]
    content: Annotated[Template, BeforeValidator(_text)]
    type: Literal["message"] = "message"


Messages = Annotated[tuple[GraderMessage, ...], Field(min_length=1, max_length=MAX_MESSAGES)]


class _Grader(Request):
    name: str = Field(min_length=1, max_length=128)


class StringCheck(_Grader):
    """Compares two texts."""

    type: Literal["string_check"]
    input: Template
    reference: Template
    operation: Literal["eq", "ne", "like", "ilike"]


class TextSimilarity(_Grader):
    """Says how alike two texts are."""

    type: Literal["text_similarity"]
    input: Template
    reference: Template
    evaluation_metric: str

    @field_validator("evaluation_metric")
    @classmethod
    def _served(cls, metric: str) -> str:
        if metric in _NOT_HERE:
            sentence = f"The metric '{metric}' is not served: {_NOT_HERE[metric]}. There are {', '.join(METRICS)}."
            raise refuse("unsupported", sentence)
        if metric not in METRICS:
            known = ", ".join(f"'{each}'" for each in METRICS)
            raise refuse("invalid_value", f"Invalid value: {shown(metric)}. Supported values are: {known}.")
        return metric


class PythonGrader(_Grader):
    """Code that says how good a sample is: `def grade(sample, item) -> float`."""

    ignored = frozenset({"image_tag"})

    type: Literal["python"]
    source: str = Field(min_length=1, max_length=MAX_SOURCE)


class SamplingParams(Request):
    """How a model that grades is asked."""

    refused = frozenset({"reasoning_effort"})

    max_completions_tokens: int | None = Field(default=None, ge=1, le=2**31)
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)


class _Model(_Grader):
    model: str = Field(min_length=1, max_length=512)
    input: Messages


class ScoreModel(_Model):
    """A model says a number."""

    type: Literal["score_model"]
    range: tuple[float, float] = (0.0, 1.0)
    sampling_params: SamplingParams = SamplingParams()

    @field_validator("range")
    @classmethod
    def _rises(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        if not -1e9 <= bounds[0] < bounds[1] <= 1e9:
            raise refuse("invalid_value", "Invalid '{param}': expected the lowest score, and one above it.")
        return bounds


class LabelModel(_Model):
    """A model says one of several words."""

    type: Literal["label_model"]
    labels: tuple[Annotated[str, Field(min_length=1, max_length=256)], ...] = Field(min_length=1, max_length=MAX_LABELS)
    passing_labels: tuple[str, ...] = Field(min_length=1, max_length=MAX_LABELS)

    @model_validator(mode="after")
    def _among(self) -> Self:
        if not set(self.passing_labels) <= set(self.labels):
            what = "Invalid '{param}': every one must be among the labels."
            raise refuse("invalid_value", what, "passing_labels")
        return self


class Multi(_Grader):
    """A formula of other graders' scores; they are read beside it, and each has the name by which it stands there."""

    type: Literal["multi"]
    graders: Any
    calculate_output: str = Field(min_length=1, max_length=MAX_FORMULA)


Single = StringCheck | TextSimilarity | PythonGrader | ScoreModel | LabelModel
SINGLE: Mapping[str, type[Single]] = {
    "string_check": StringCheck,
    "text_similarity": TextSimilarity,
    "python": PythonGrader,
    "score_model": ScoreModel,
    "label_model": LabelModel,
}


class Combined:
    """A grader of several graders: the formula's tree, and who is who in it."""

    def __init__(self, name: str, graders: Mapping[str, Single], formula: ast.expr) -> None:
        self.name = name
        self.graders = dict(graders)
        self.formula = formula


Grader = Single | Combined


class GraderRunRequest(Request):
    """POST /fine_tuning/alpha/graders/run."""

    grader: dict[str, Any]
    model_sample: str
    item: dict[str, Any] = Field(default_factory=dict)


class GraderValidateRequest(Request):
    """POST /fine_tuning/alpha/graders/validate."""

    grader: dict[str, Any]


def read_grader(given: Any, where: str = "grader") -> Grader:
    """Return the grader that stands at `where` in a request; raises ApiError."""
    kind = _object(given, where).get("type")
    return _read_multi(given, where) if kind == "multi" else read_single(given, where, SINGLE)


def read_single(given: Any, where: str, known: Mapping[str, type[Any]]) -> Any:
    """Return what one of the graders that `known` has by their types; raises ApiError."""
    kind = _object(given, where).get("type")
    if not isinstance(kind, str) or kind not in known:
        options = ", ".join(f"'{each}'" for each in (*known, *(("multi",) if known is SINGLE else ())))
        message = f"Invalid value: {shown(kind)}. Supported values are: {options}."
        raise ApiError(message, param=f"{where}.type", code="invalid_value")
    return read_at(known[kind], given, where)


def read_at(model: type[_Read], given: Any, where: str) -> _Read:
    """Return the part of a request that stands at `where`; raises ApiError that says so."""
    try:
        return model.read(_object(given, where))
    except ApiError as error:
        param = error.param or ""
        place = f"{where}.{param}" if param else where
        message = error.message.replace(f"'{param}'", f"'{place}'", 1) if param else error.message
        raise ApiError(message, status=error.status, param=place, code=error.code) from None


def _object(given: Any, where: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ApiError(f"Invalid type for '{where}': expected an object.", param=where, code="invalid_type")
    return given


def _read_multi(given: dict[str, Any], where: str) -> Combined:
    asked = read_at(Multi, given, where)
    inner = given["graders"]  # as it came: in one of the three forms that OpenAI's documents have
    if isinstance(inner, dict) and isinstance(inner.get("type"), str):
        inner = [inner]
    if not isinstance(inner, dict | list) or not 1 <= len(inner) <= MAX_GRADERS:
        what = f"Invalid '{where}.graders': expected 1 to {MAX_GRADERS} graders, by their names or in a list."
        raise ApiError(what, param=f"{where}.graders", code="invalid_value")
    if isinstance(inner, dict):
        named = {name: read_single(each, f"{where}.graders.{name[:64]}", SINGLE) for name, each in inner.items()}
    else:
        read = [read_single(each, f"{where}.graders[{place}]", SINGLE) for place, each in enumerate(inner)]
        named = {each.name: each for each in read}
        if len(named) < len(read):
            what = f"Invalid '{where}.graders': two graders have the same name."
            raise ApiError(what, param=f"{where}.graders", code="invalid_value")
    return Combined(asked.name, named, _formula(asked.calculate_output, named, f"{where}.calculate_output"))


_MAX_LEVELS = 64
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.UAdd, ast.USub)


def _formula(text: str, names: Mapping[str, Any], where: str) -> ast.expr:
    """Return the tree of a formula over `names`; raises ApiError for all but numbers, + - * / ^ and FUNCTIONS."""
    try:
        tree = ast.parse(text.replace("^", "**").strip(), mode="eval").body
        problem = next(_strange(tree, names), None)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        problem = "it is no formula"
    if problem is not None:
        known = f"It may have the graders' names ({', '.join(each[:64] for each in names)}), numbers, + - * / ^ and "
        sentence = f"Invalid '{where}': {problem}. {known}{', '.join(sorted(FUNCTIONS))}."
        raise ApiError(sentence, param=where, code="invalid_formula")
    return tree


def _strange(node: ast.AST, names: Mapping[str, Any], level: int = 1) -> Iterator[str]:
    """Yield what has no place in a formula."""
    if level > _MAX_LEVELS:
        yield f"it is nested deeper than {_MAX_LEVELS}"
        return
    match node:
        case ast.Constant(value=int() | float() as value) if type(value) is not bool and abs(value) <= 1e300:
            return
        case ast.Name(id=name):
            if name not in names:
                yield f"nothing is called {shown(name)}"
        case ast.BinOp() | ast.UnaryOp() if isinstance(node.op, _OPERATORS):
            for each in ast.iter_child_nodes(node):
                if isinstance(each, ast.expr):
                    yield from _strange(each, names, level + 1)
        case ast.Call(func=ast.Name(id=function), args=args, keywords=[]) if function in FUNCTIONS and args:
            if function not in ("min", "max") and len(args) != 1:
                yield f"{function} takes one number"
            for each in args:
                yield from _strange(each, names, level + 1)
        case _:
            yield f"{ast.unparse(node)[:64]!r} is no part of one"
