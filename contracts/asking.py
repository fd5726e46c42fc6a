"""How a question about passages is put to a model; rows are made, and read back, in this one form."""

from __future__ import annotations

from collections.abc import Sequence

USER = "Context:\n{context}\n\nQuestion: {question}"
PASSAGE = "[{number}] {text}"
"""One line of the context; numbers count from 1."""
REFUSAL = "The context does not say."
"""The answer where no passage shown holds one."""


def asked(passages: Sequence[str], question: str) -> str:
    """Return the user's message: the passages, one line each, and the question."""
    context = "\n".join(PASSAGE.format(number=number, text=text) for number, text in enumerate(passages, 1))
    return USER.format(context=context, question=question)


def read(content: str) -> tuple[list[str], str]:
    """Return passages and question of a message that `asked` made; any other message is a question of its own."""
    context, found, question = content.rpartition("\n\nQuestion: ")
    head, *lines = context.split("\n")
    if not found or head != "Context:":
        return [], content
    return [line.partition("] ")[2] for line in lines], question
