"""The English that the extractive rules know: closed classes of words, and subjects as they stand inside a question."""

from __future__ import annotations

import re
from collections.abc import Callable


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


AUX = r"is|are|was|were|has|have|had|must|should|can|could|may|might|will|would|shall|cannot"
NUMBER = (
    r"(?:(?:EUR|USD|GBP|CHF|[€$£]) ?)?(?:\d[\d,.:]*\d|\d|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|"
    r"fifteen|twenty|thirty|forty|fifty|sixty|ninety)(?:[- ](?:hundred|thousand|million|billion))?"
    r"(?: ?[%°€](?: ?C| ?F)?)?"
)
BOUND = r"at least|at most|up to|no more than|not more than|more than|fewer than|less than|exactly|about|approximately"
TIME = (
    r"(?:business |working |calendar |consecutive )?"
    r"(?:seconds?|minutes?|hours?|days?|weeks?|months?|quarters?|years?|milliseconds?|ms)"
)
ROLES = _set(
    "manager managers director directors officer officers team teams department departments committee board council "
    "supervisor supervisors engineer engineers operator operators technician technicians administrator "
    "administrators "
    "warden wardens employee employees staff visitor visitors customer customers contractor contractors supplier "
    "suppliers vendor vendors owner owners user users contributor contributors maintainer maintainers licensor "
    "licensee licensors licensees author authors developer developers tenant tenants landlord nurse nurses doctor "
    "doctors physician pharmacist driver drivers teacher teachers student students member members applicant "
    "applicants "
    "auditor auditors controller holder holders recipient recipients distributor distributors agency company "
    "lead leads head analyst analysts buyer buyers seller passengers guard guards foundation corporation"
)
MEASURES = _set(
    "limit limits maximum minimum size rate price cost costs fee number amount length duration period term deadline "
    "capacity weight height width depth temperature pressure speed port timeout interval threshold budget salary "
    "version age distance voltage power range quota default value percentage share discount deposit rent dose "
    "extension ratio level score total target allowance time frequency warranty lifetime "
    "occupancy area volume thickness diameter tolerance population concentration"
)
VERBS = {  # third person → plain; each of these is seldom a noun
    **{f"{verb}s": verb for verb in sorted(_set(
        "provide support require contain include describe define replace enable implement maintain produce prevent "
        "generate ensure determine specify represent receive accept approve protect reduce oversee coordinate "
        "perform "
        "deliver"
    ))},
    "applies to": "apply to", "depends on": "depend on", "consists of": "consist of", "relies on": "rely on",
    "reports to": "report to", "belongs to": "belong to", "stands for": "stand for", "refers to": "refer to",
    "means": "mean", "carries out": "carry out",
}  # fmt: skip
_DETERMINERS = _set("the a an each every all any some both most many few several no only other another at our your")
_NOT_SUBJECTS = _set(
    "it they he she we you i this that these those there here such its their his her our your my and but or so "
    "however "
    "therefore thus also then otherwise instead moreover furthermore additionally finally first second third "
    "next note "
    "please see for in on at by with from to under when if while after before during once unless until because "
    "since as although though not no nothing none both either neither one what which who whose where how why let "
    "just simply currently now today e.g i.e of into using due per about like unlike without within upon note "
    "nor yet "
    "everything everyone anything nobody to subject notwithstanding except given provided whether even only "
    "similarly "
    "suppose nonetheless nevertheless make ensure assume remember anyway thereby hereafter again perhaps maybe "
    "likewise right still already usually often sometimes generally typically alternatively consequently accordingly"
)
_UNCLEAR = re.compile(
    r"\b(?:it|they|them|he|she|him|this|these|those|that|we|us|our|i|my|such|above|below|following|herein|hereby|"
    r"hereunder|thereof|therein|former|latter|aforementioned|who|which|whom|whose|where|when|if|whether|there|"
    r"said|same|you)\b",
    re.IGNORECASE,
)
_BAD_QUESTION = re.compile(
    r"\b(?:it|they|them|he|she|him|this|these|those|we|us|our|i|my|such|above|below|following|herein|hereby|"
    r"hereunder|thereof|therein|former|latter|aforementioned|and/or|here|that (?=\w+\?))\b",
    re.IGNORECASE,
)
_RANGE = re.compile(r"\d (?:to|and|or|-|–) \d")
_FINITE = re.compile(rf"\b(?:{AUX}|do|does|did|not)\b")
_QUESTION_CHARACTERS = range(12, 221)


def subject(text: str, is_name: bool) -> str | None:
    """Return the subject `text` of a sentence as it stands inside a question, or None when it names nothing clearly."""
    first, _, rest = text.partition(" ")
    bare = first.strip("\"“”'`").lower()
    many = len(text.split())
    if bare in _NOT_SUBJECTS or many > 9 or _RANGE.search(text) or _UNCLEAR.search(text) or _FINITE.search(text):
        return None
    if re.search(r" (?:The|An?|This|It|In|If|To) ", text):
        return None  # two lines that are no sentence
    if "," in text or ";" in text or ":" in text or text.count("(") != text.count(")"):
        return None
    if re.search(r"(?i)\b(?:of|for|in|to|with|and|or|by|on|at|from|the|a|an|also|only|just|then|currently)$", text):
        return None
    if bare.endswith(("ly", "ing")) and not is_name and many > 1 and bare not in ("family", "building", "assembly"):
        return None  # an adverb, or a participle that leans on another subject
    if bare in _DETERMINERS:
        return f"{first.lower()} {rest}" if rest else None
    return text if is_name else text[:1].lower() + text[1:]


def is_role(noun_phrase: str) -> bool:
    """Return whether a noun phrase says who, by its head: `the head of purchasing`, `Line managers`."""
    head = re.split(r" (?:of|for|in|at|on|to|with|from|under|using) ", noun_phrase)[0].split()
    return bool(head) and head[-1].lower() in ROLES


def measures(noun_phrase: str) -> bool:
    """Return whether a noun phrase names something that has a value."""
    head = re.split(r" (?:of|for|in|at|on|to|between|per|from|that) ", noun_phrase)[0].split()
    return bool(head) and head[-1].lower() in MEASURES


def asked(question: str) -> str | None:
    """Return `question` on one line, or None when it cannot be read alone or is no good English."""
    text = " ".join(question.split()).replace(" ?", "?").replace(" ,", ",")
    if len(text) not in _QUESTION_CHARACTERS or "!" in text or _BAD_QUESTION.search(text) or text.count('"') % 2:
        return None
    if text.count("(") != text.count(")") or re.search(r"\b(?:and|or|the|a|an|that|which|not|only|also)\?$", text):
        return None
    return text


_VAGUE = re.compile(
    r"(?i)(?:the |an? |each |every |all |any )?(?:of |lot|related|involved|affected|first|second|third|fourth|"
    r"fifth|next|last|another|others?|"
    r"rest|remaining|"
    r"following|previous|corresponding|respective|same|current|given|resulting|best|worst|most|least|two|three|four|"
    r"five|six|many|several|few|both|some|enough|more|less|such|new|old|specified|relevant|appropriate|certain|"
    r"further|actual|usual|only|main|various|different|whole|above|exact|[a-z]+est|numbers?|things?|parts?|ways?|"
    r"reasons?|idea|"
    r"results?|cases?|problems?|examples?|purpose|goal|care|note|fact|sections?|chapters?|tables?|figures?|lists?|"
    r"good|bad|better|important|general|common|typical|simple|special|similar|possible|overview|most|least|"
    r"information|details|items?|whatever|anything|something|anyone|someone|two-thirds|advantage|disadvantage|"
    r"difference|answer|question|point|work|line \d+|step \d+)\b(?!-)"
)
_ALONE = _set(
    "value values option options command commands field fields name names string strings line lines text entry "
    "entries "
    "process method methods step steps output input choice setting settings parameter parameters message key word "
    "words argument arguments number type types order content contents data change changes action actions position "
    "version versions page pages script scripts system machine user users"
)
"""Said of something else, unless more words say of what."""


def is_vague(subject: str, is_name: bool, is_theme: Callable[[str], bool]) -> bool:
    """Return whether nobody knows what `subject` names without the sentences before: `the second value`, `care`."""
    words = subject.split()
    if _VAGUE.match(subject):
        return True
    if words[0] == "the" and len(words) == 2 and words[1].islower() and words[1].isalpha():
        return words[1] in _ALONE or not is_theme(words[1])
    return len(words) == 1 and not is_name and words[0].isalpha() and not words[0].endswith("s")
