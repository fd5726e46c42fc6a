"""How right an answer is without a judge: exact match, F1, ROUGE-L, refusal; pure, every score in 0..1."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping

from rapidfuzz.distance import LCSseq

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_SENTENCE_MARKS = ".,;:!?…\"'`*()[]{}“”„‘’«»。、！？"
_UNSPACED = re.compile(r"([぀-ヿ㐀-鿿豈-﫿])")  # scripts without spaces: every character is a word, as in MLQA
_ROUGE_WORD = re.compile(r"[^\W_]+")

_TELLS = (
    r"(?:say|state|mention|specif|provid|contain|includ|answer|indicat|describ|discuss|tell|give|disclose|reveal|"
    r"information|detail)"
)
_NOT = r"(?:\bnot|\bno|cannot|n['’]t)\b"
_REFUSAL = re.compile(
    rf"\b(?:context|passage|text|document|excerpt|source|information)s?\b[^.!?]{{0,40}}{_NOT}[^.!?]{{0,30}}\b{_TELLS}"
    rf"|\bI\b[^.!?]{{0,20}}{_NOT}[^.!?]{{0,20}}\b(?:know|find|answer|determine|sure|enough|tell|say)\b"
    r"|\b(?:no|not enough|insufficient) (?:relevant |such |specific )?(?:information|context|details?|mention)\b"
    r"|\bnot (?:mentioned|stated|specified|provided|given|answerable|available|found|known)\b(?: in\b| by\b|[.!]|$)"
    r"|\bcannot be (?:answered|determined|found)\b"
    r"|\b(?:kontext|text|dokument|abschnitt)\w*\b[^.!?]{0,40}\b(?:nicht|kein\w*)\b"
    r"|\bich weiß (?:es |das )?nicht\b",
    re.IGNORECASE,
)
_REFUSAL_WITHIN = 240
"""Characters: who refuses does so at the beginning."""


def exact(prediction: str, answer: str) -> bool:
    """Tell whether the prediction is the answer, but for white space around it."""
    return prediction.strip() == answer.strip()


def exact_match(prediction: str, answer: str) -> float:
    """Return 1 where both are the same but for case, articles, white space and the marks of a sentence, else 0.

    Unlike SQuAD's, marks inside a word and signs count: 4.12 is not 412, -5 is not 5.
    """
    return float(_plain(prediction) == _plain(answer))


def _plain(text: str) -> str:
    words = (word.strip(_SENTENCE_MARKS) for word in unicodedata.normalize("NFKC", text).casefold().split())
    kept = " ".join(word for word in words if word)
    return " ".join(_ARTICLES.sub(" ", kept).split()) or kept


def f1(prediction: str, answer: str) -> float:
    """Return the word overlap of SQuAD: harmonic mean of precision and recall, without case, marks and articles."""
    given, wanted = _bare_words(prediction), _bare_words(answer)
    if not given or not wanted:
        return float(given == wanted)
    common = sum((Counter(given) & Counter(wanted)).values())
    return 2 * common / (len(given) + len(wanted))


def _bare_words(text: str) -> list[str]:
    unmarked = text.lower().translate(str.maketrans("", "", string.punctuation))
    return _UNSPACED.sub(r" \1 ", _ARTICLES.sub(" ", unmarked)).split()


def rouge_l(prediction: str, answer: str) -> float:
    """Return ROUGE-L: 2·LCS/(n + m) over words in lower case, where LCS is the longest common subsequence.

    Source: C.-Y. Lin, ROUGE, Text Summarization Branches Out (2004), with beta = 1 and without stemming.
    """
    given, wanted = _rouge_words(prediction), _rouge_words(answer)
    if not given or not wanted:
        return float(given == wanted)
    return 2 * LCSseq.similarity(given, wanted) / (len(given) + len(wanted))


def _rouge_words(text: str) -> list[str]:
    return _ROUGE_WORD.findall(_UNSPACED.sub(r" \1 ", text.lower()))


def refusal(prediction: str, answer: str) -> float:
    """Return 1 where the prediction says that nothing was found to answer from, else 0.

    `answer` is the data set's own wording of that. Other wordings are told in English and German.
    """
    if exact_match(prediction, answer):
        return 1.0
    return float(bool(_REFUSAL.search(" ".join(prediction.split())[:_REFUSAL_WITHIN])))


METRICS: Mapping[str, Callable[[str, str], float]] = {
    "exact_match": exact_match,
    "f1": f1,
    "rouge_l": rouge_l,
    "refusal": refusal,
}
"""Name → score of a prediction against the right answer."""
