"""Which tokens of a rendered chat are trained on: the assistant's turns and the token that ends each of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

Span = tuple[int, int]
"""Characters [start, end)."""


class UnlabelledError(Exception):
    """No label can be given; the text says why, for the one who wrote the row or chose the model."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def turn_span(full: str, prompt: str, upto: str, content: str, mark: Span | None = None) -> Span:
    """Return where one assistant turn stands in `full`, from the end of its prompt to the end of the turn.

    `prompt` is the chat before the turn rendered with the generation prompt, `upto` the chat up to and with the turn,
    `mark` what the template's own generation marks say of the turn.
    """
    if not full.startswith(prompt):
        raise UnlabelledError(
            "template_unsupported",
            "the model's chat template renders a prompt differently once its answer follows, so the model would be "
            "trained on prompts that it never sees when it is asked.",
        )
    start = len(prompt)
    if full.startswith(upto) and upto.startswith(prompt):
        span = (start, len(upto))
        return mark if mark is not None and span[0] <= mark[0] < mark[1] <= span[1] else span
    if mark is not None and start <= mark[0] < mark[1] and not full[start : mark[0]].strip():
        return mark
    # Some templates rewrite history (thinking is taken out of earlier turns); the answer itself still stands there.
    answer = content.strip()
    at = full.find(answer, start) if answer else -1
    if at >= 0 and not full[start:at].strip():
        tail = upto[upto.rfind(answer) + len(answer) :]
        if tail.strip() and full.startswith(tail, at + len(answer)):
            return (start, at + len(answer) + len(tail))
    raise UnlabelledError(
        "template_unsupported",
        "the model's chat template renders an earlier assistant turn in a way in which its end cannot be found.",
    )


def label_mask(ids: Sequence[int], offsets: Sequence[Span], spans: Sequence[Span], stops: Collection[int]) -> bytearray:
    """Return 1 for each token inside a span, up to and with the first token at which generation stops, else 0."""
    mask = bytearray(len(ids))
    token = 0
    for start, end in sorted(spans):
        while token < len(ids) and offsets[token][0] < start:
            token += 1
        while token < len(ids) and offsets[token][1] <= end:
            mask[token] = 1
            token += 1
            if ids[token - 1] in stops:
                break
        else:
            raise UnlabelledError(
                "no_end_of_turn",
                "the model's chat template does not close an assistant turn with a token at which the model stops, so "
                "it would never learn to end an answer.",
            )
    if not any(mask):
        raise UnlabelledError("no_trained_token", "no token of it would be trained on.")
    return mask


def cut_front(content: str, at: int, offsets: Sequence[Span], excess: int) -> str | None:
    """Return `content` (which stands at character `at`) without its first `excess` tokens; None: it has not so many."""
    inside = [start for start, end in offsets if at <= start and end <= at + len(content)]
    if excess >= len(inside):
        return None
    return content[inside[excess] - at :].lstrip() or None
