"""Rules from a sentence to a question about it; each yields question and answer, which is words of the sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator

from functions.synthesize_examples.english.grammar import (
    AUX,
    BOUND,
    NUMBER,
    TIME,
    VERBS,
    is_role,
    is_vague,
    measures,
    subject,
)
from functions.synthesize_examples.language import Pair, Rule
from functions.synthesize_examples.sentences import Vocabulary


def named_subject(text: str, vocabulary: Vocabulary) -> str | None:
    """Return the subject that begins a sentence as it stands inside a question, or None where it names nothing."""
    is_name = vocabulary.is_name(text.split(" ", 1)[0])
    found = subject(text, is_name)
    return None if found is None or is_vague(found, is_name, vocabulary.is_theme) else found


_TERM = re.compile(
    r"[\"“]([^\"“”]{2,60})[\"”] (shall mean|means|mean|refers to|shall refer to|is|are|includes|stands for) "
    r"(.{12,})\."
)
_GLOSSARY = re.compile(r"([A-Z][\w-]*(?: [\w-]+){0,3}): ((?:[Aa]n?|[Tt]he person|Any|Each|the) .{12,})\.")
_NO_TERM = re.compile(
    rf"(?i)\b(?:note|warning|example|see|usage|todo|tip|important|hint|caution|authors?|please|be|{AUX})\b"
)


def _quoted_term(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    found = _TERM.fullmatch(text)
    if found is not None:
        term, verb, meaning = found.groups()
        if len(term) < 3:
            return
        if verb in ("is", "are"):
            if re.match(r"(?:an?|the|one of)\b", meaning) and not _NO_KIND.match(meaning):
                yield f'What {verb} "{term}"?', meaning
        elif verb == "includes":
            yield f'What does "{term}" include?', meaning
        else:
            yield f'What does "{term}" mean?', meaning
    found = _GLOSSARY.fullmatch(text)
    if found is not None and not _NO_TERM.search(found.group(1)):
        yield f'What is meant by "{found.group(1)}"?', found.group(2)


_IS_A = re.compile(r"(.{2,90}?) (is|are) ((?:an?|the|one of) [^;]{8,})(?:;.*)?\.")
_NO_KIND = re.compile(
    r"(?:a|an) (?:good|bad|better|bit|lot|must|little|few|number|problem|big|great|huge|common|nice|matter|"
    r"result|need|"
    r"way|part|valuable)\b|the (?:same|case|only|default|following|first|last|most|best|reason|result|responsibility|"
    r"sole|exception|beneficiary|\w+est)\b|one of the?(?: following)?$"
)
_PERSON = re.compile(r"[A-Z][a-z]+(?: [A-Z]\.)?(?: [A-Z][a-z]+){1,2}")


def _says_itself(subject: str, kind: str) -> bool:
    """Return whether a definition names the subject again, or next to nothing else: `a special distribution`."""
    head = re.split(" (?:of|for|in|to|on|with) ", subject)[0].split()[-1].lower().strip('"“”')
    first = re.split(r" (?:of|for|that|which|who|in|to|with|used|where|about|from)\b", kind)[0].lower()
    return head in first.split() or len(kind.split()) < 4


def _definition(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    found = _IS_A.fullmatch(text)
    if found is None or _NO_KIND.match(found.group(3)):
        return
    named = named_subject(found.group(1), vocabulary)
    if named is not None and not _says_itself(found[1], found[3]):
        person = _PERSON.fullmatch(found.group(1)) is not None and is_role(re.split(" (?:of|for|at|in) ", found[3])[0])
        yield f"{'Who' if person else 'What'} {found.group(2)} {named}?", found.group(3)


_RESPONSIBLE = re.compile(r"(.{2,90}?) (is|are|was|were) (?:also |solely )?responsible for (.{6,})\.")


def _responsible(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    found = _RESPONSIBLE.fullmatch(text)
    named = None if found is None else named_subject(found.group(1), vocabulary)
    if found is None or named is None:
        return
    if is_role(found.group(1)):
        yield f"Who {found.group(2)} responsible for {found.group(3)}?", found.group(1)
    yield f"What {found.group(2)} {named} responsible for?", found.group(3)


_VALUE = re.compile(
    rf"(.{{4,90}}?) (is|are|was|were) (?:set to |limited to )?((?:(?:{BOUND}) )?{NUMBER}(?: .{{1,60}})?)\."
)


def _value(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    found = _VALUE.fullmatch(text)
    named = None if found is None or not measures(found.group(1)) else named_subject(found.group(1), vocabulary)
    if found is not None and named is not None:
        yield f"What {found.group(2)} {named}?", found.group(3)


_CLAUSE = re.compile(rf"(.{{2,90}}?) ({AUX}) (?!not\b)(.+)\.")
_HAPPENING = re.compile(
    r"(.{2,90}?) (take|run|last|start|begin|open|close|expire|end|meet|occur|happen|operate|work)s((?: place)? .+)\."
)
_RANGE = re.compile(r"\b(?:to|and|or|through|-) \d")
_SPAN = rf"(?:a |an |one |{NUMBER} ){TIME}"
_HOW_LONG = (
    (
        "How often",
        rf"(?:at least |at most )?(?:every (?:{NUMBER} )?{TIME}|(?:once|twice|{NUMBER} times) (?:an?|per|every|each) "
        rf"{TIME}|daily|weekly|monthly|quarterly|yearly|annually)",
    ),
    ("Within what time", rf"(?:within|no later than|not later than) {_SPAN}"),
    ("For how long", rf"for (?:a (?:maximum |minimum )?period of )?(?:(?:{BOUND}) )?{_SPAN}"),
    ("After how long", rf"after {_SPAN}"),
    (
        "When",
        r"(?:on (?:\d{1,2} [A-Z][a-z]+ \d{4}|[A-Z][a-z]+ \d{1,2}, \d{4})|in (?:[A-Z][a-z]+ )?(?:19|20)\d\d|"
        r"by \d{1,2} [A-Z][a-z]+(?: \d{4})?|"
        r"on the (?:first|last|\d+th) [a-z ]{0,20}day of (?:the|each|every) (?:month|year|quarter))",
    ),
)
_TIMES = [(ask, re.compile(rf"\b{pattern}\b")) for ask, pattern in _HOW_LONG]
_TAIL = re.compile(r" (?:to|by|in|on|at|from|with|for|of|as|under|into|after|before|between|per)\b[^,;:]*")


def _clause(text: str, vocabulary: Vocabulary) -> tuple[str, str, str] | None:
    """Return auxiliary, subject and the rest of a plain main clause, as they stand in a question."""
    found = _CLAUSE.fullmatch(text)
    if found is not None:
        named = named_subject(found.group(1), vocabulary)
        return None if named is None else (found.group(2), named, found.group(3))
    found = _HAPPENING.fullmatch(text)
    named = None if found is None else named_subject(found.group(1), vocabulary)
    return None if found is None or named is None else ("does", named, f"{found.group(2)}{found.group(3)}")


def _time(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    clause = _clause(text, vocabulary)
    if clause is None:
        return
    aux, named, rest = clause
    for ask, pattern in _TIMES:
        found = pattern.search(rest)
        if found is None or _RANGE.match(rest[found.end() :].lstrip()):
            continue
        before, after = rest[: found.start()].rstrip(), rest[found.end() :]
        tail = re.match(r"[^,;:]*", after)
        kept = tail.group() if tail is not None else ""
        if not before or re.search(r"[,;:(]|\b(?:if|when|and|or|but|not|who|which|that|because)\b", before):
            continue
        if kept and not _TAIL.fullmatch(kept):
            continue
        if ask == "When" and aux in ("has", "have"):
            return
        yield f"{ask} {aux} {named} {before}{kept}?", found.group()
        return


_COUNT = re.compile(
    rf"(.{{2,90}}?) (must|should|can|may|will|shall) ([a-z]+) ((?:{BOUND}) )?({NUMBER}) "
    rf"([a-z][\w-]*(?: [a-z][\w-]*){{0,2}}?s)"
    rf"((?: (?:to|in|on|at|from|with|for|per|during|before|after|each|every)\b[^,;:]*)?)\."
)
_HAS = re.compile(
    rf"(.{{2,90}}?) (has|have|contains|contain) ((?:{BOUND}) )?({NUMBER}) ([a-z][\w-]*(?: [a-z][\w-]*){{0,2}}?s)"
    rf"(?:(?: (?:in|on|at|for|per)\b|[,;:]).*)?\."
)


_RATE = re.compile(
    rf"(.{{2,90}}?) ({AUX}) (?!not\b)([^,;:]+?) ((?:(?:{BOUND}) )?({NUMBER}) ([a-z]+s)) "
    rf"((?:an?|per|each) (?:day|week|month|year))\."
)


def _count(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    found = _COUNT.fullmatch(text)
    named = None if found is None else named_subject(found.group(1), vocabulary)
    if found is not None and named is not None:
        _, aux, verb, bound, number, things, rest = found.groups()
        yield f"How many {things} {aux} {named} {verb}{rest}?", f"{bound or ''}{number} {things}"
    found = _RATE.fullmatch(text)
    named = None if found is None else named_subject(found.group(1), vocabulary)
    if found is not None and named is not None and found.group(6) != "times":
        _, aux, done, answer, _, things, period = found.groups()
        yield f"How many {things} {period} {aux} {named} {done}?", answer
    found = _HAS.fullmatch(text)
    named = None if found is None else named_subject(found.group(1), vocabulary)
    if found is not None and named is not None:
        _, verb, bound, number, things = found.groups()
        do = "does" if verb.endswith("s") else "do"
        yield (
            f"How many {things} {do} {named} {'have' if verb.startswith('ha') else 'contain'}?",
            (f"{bound or ''}{number} {things}"),
        )


_BY = re.compile(
    r"(.{2,90}?) (is|are|was|were|must be|can be|may be|should be|shall be|will be) "
    r"((?:[a-z]+ly )?[a-z]+(?:ed|en|un|ilt|ade|wn|pt|ld))"
    r"((?: (?:in|on|at|for|from)(?: (?!by\b|\w+ed\b)[\w-]+){1,4})?)"
    r" by ((?:the |an? |any |each )?[\w’' -]{3,80}?)"
    r"(?: (?:for|in|on|at|to|under|with|via|as|if|when|before|after) .+)?\."
)
_WEAK = re.compile(
    r"(?:\w+ly )?(?:used|followed|preceded|indicated|affected|given|caused|replaced|represented|read|meant)\b"
)
_NO_AGENT = re.compile(
    r"(?:\w+ing|programs|packages|users|people|most|many|some|others|any|default|hand|law|means|way|itself|"
    r"e-?mail|mail|post|phone|accident|design|request|one|"
    r"the (?:end|time))\b"
)


def _agent(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    found = _BY.fullmatch(text)
    named = None if found is None or _NO_AGENT.match(found.group(5)) else named_subject(found.group(1), vocabulary)
    if found is None or named is None or re.search(r"\b(?:by|who|which|that|or|and)\b|\d", found.group(5)):
        return
    aux, _, be = found.group(2).partition(" ")
    who = "Who" if is_role(found.group(5)) or _PERSON.fullmatch(found.group(5)) else "What"
    if who == "What" and (be or len(found[5].split()) > 5 or _WEAK.match(found[3])):
        return
    yield f"{who} {aux} {named} {be} {found.group(3)}{found.group(4)} by?", found.group(5)


_WHERE = re.compile(
    r"(.{2,90}?) (is|are|was|were|must be|should be|can be) (located|stored|kept|held|based|situated|hosted|"
    r"published|installed|documented|archived|displayed|filed|recorded) "
    r"((?:in|at|(?<!based )on|under|inside|near) [^,;:]{3,80})\."
)
_MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
_NO_PLACE = re.compile(rf"in (?:order|the event|case)\b|(?:in|on) (?:{NUMBER}|(?:{_MONTH})\b)")


def _where(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    found = _WHERE.fullmatch(text)
    named = None if found is None else named_subject(found.group(1), vocabulary)
    if found is not None and named is not None and not _NO_PLACE.match(found[4]):
        aux, _, be = found.group(2).partition(" ")
        yield f"Where {aux} {named} {be} {found.group(3)}?", found.group(4)


_CONDITION = re.compile(
    r"(If|When|Once|After|Before|During|In case of|In the event of) ([^,;:]{6,90}), "
    r"([^;:]{8,})\."
)
_ORDER = re.compile(
    r"(?:please |simply |just |first |then |carefully |always )?(?:add|apply|avoid|choose|click|consult|copy|"
    r"create|delete|"
    r"edit|enter|file|go|include|make|move|omit|pass|read|refer|replace|select|specify|tell|try|type|update|"
    r"verify|call|press|report|notify|contact|remove|replace|check|open|close|use|send|inform|stop|start|turn|"
    r"wait|leave|"
    r"keep|disconnect|restart|reset|return|switch|follow|ask|set|run|install|clean|store|write|record)\b"
)
_LEANS = re.compile(
    r"(?i)\b(?:that(?! (?:is|are|was|were|has|have|can|will|do|does|you|the|contains?|requires?)\b)|its?|their|"
    r"they|them|instead|also|otherwise|same|so)\b"
)
_HAPPENS = re.compile(rf"\b(?:{AUX}|you|\w+[^s\W]s|\w+ed)\b")
_DUTY = ("must", "should", "shall")
_CHOICE = (*_DUTY, "can", "could", "may", "might", "will")
_NO_CLAUSE = re.compile(
    r"(?:\w+(?:ed|ing)|necessary|possible|needed|desired|so|not|in|at|on|done|available|true|applicable|any|"
    r"none|unsure)\b"
)


def _condition(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    found = _CONDITION.fullmatch(text)
    if found is None or _LEANS.search(found.group(2)):
        return
    when, condition, main = found.groups()
    when = when.lower()
    is_clause = when not in ("during", "in case of", "in the event of")
    if is_clause and (len(condition.split()) < 3 or not _HAPPENS.search(condition) or _NO_CLAUSE.match(condition)):
        return
    if _ORDER.match(main):
        yield f"What should be done {when} {condition}?", main
        return
    clause = re.fullmatch(rf"(.{{2,80}}?) ({AUX}) (?!not\b)(.+)", main)
    who = None if clause is None else subject(clause.group(1), is_name=True)
    if clause is None or (who is None and clause.group(1) not in ("you", "it", "they")):
        return
    doer, aux, done = clause.groups()
    acts = doer == "you" or (is_role(doer) and aux in _DUTY)
    if acts and aux in _CHOICE and not done.startswith("be "):
        more = re.match(r"(?:need|want|wish|have) to ", done)
        yield (
            f"What {aux} {doer} {more.group() if more else ''}do {when} {condition}?",
            done[more.end() :] if more else done,
        )
    elif re.match(r"you (?:want|wish|like|prefer|would)\b", condition):
        return  # nothing happens to whoever wants something
    elif when not in ("before", "during", "after") and not re.match(r"(?:should|have|can|may|might)\b", aux):
        yield f"What happens {when} {condition}?", main


_WHEN = re.compile(
    rf"(.{{2,90}}?) ({AUX}) (?!not\b)([^,;:—]{{3,80}}?) ((?:only |immediately |shortly )?"
    rf"(when|whenever|after|before|once|as soon as|if) (?!necessary|needed|possible|desired|any\b|so\b|not\b|\d)"
    rf"[^;:]*\b(?:{AUX}|[a-z]+s|[a-z]+ed|you \w+|\w+ing)\b[^;:]*)\."
)


def _when(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    """`The script is called after the files have been removed.`"""
    found = _WHEN.fullmatch(text)
    if found is None or len(found[4].split()) < 4 or re.match(r"(?:also|only|be|either)$", found[3]):
        return
    named = named_subject(found[1], vocabulary)
    if named is not None and not re.search(
        r"\b(?:that|which|who|and|or|to|is|are)$|\b(?:that|these|this|it)\b", found[3]
    ):
        yield f"{'In which case' if found[5] == 'if' else 'When'} {found[2]} {named} {found[3]}?", found[4]


_BECAUSE = re.compile(rf"(.{{2,90}}?) ({AUX}) ([^,;:]{{3,100}}),? (because (?!of ).{{8,}})\.")


def _why(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    found = _BECAUSE.fullmatch(text)
    named = None if found is None else named_subject(found.group(1), vocabulary)
    if found is not None and named is not None:
        yield f"Why {found.group(2)} {named} {found.group(3)}?", found.group(4)


_THIRD = re.compile(rf"(.{{2,90}}?) ({'|'.join(VERBS)}) ([^:]{{6,}})\.")
_NO_OBJECT = re.compile(
    r"(?:that|this|these|those|you|us|its|their|your|here|no|one|some|many|what|to|in|on|at|by|for|with|from|as|"
    r"it|them|and|or|when|if|how|whether|only|not)\b"
)
_MODAL = re.compile(
    r"(.{2,90}?) (must|should|may|can|shall|will) (?!not\b|be\b|also\b|only\b|have been\b)([^:;]{8,140})\."
)


_DOES = re.compile(
    r"((?:The|Each|Every) .{2,80}?) (record|review|check|issue|sign|manage|monitor|control|track|handle|operate|own|"
    r"store|send|create|keep|serve|cover|return|inspect|appoint|measure|pay)s "
    r"((?:the|an?|all|any|each|every|both|no|its|new) [^:]{4,})\."
)


def _verb(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    found = _THIRD.fullmatch(text) or _DOES.fullmatch(text)
    named = None if found is None or _NO_OBJECT.match(found.group(3)) else named_subject(found.group(1), vocabulary)
    if found is None or named is None:
        return
    verb, plain = found.group(2), VERBS.get(found.group(2))
    if plain is None:
        verb, plain = f"{verb}s", verb
    if is_role(found.group(1)) and "," not in found.group(3):
        yield f"Who {verb} {found.group(3)}?", found.group(1)
    yield f"What does {named} {plain}?", found.group(3)


def _duty(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    found = _MODAL.fullmatch(text)
    named = None
    if found is not None and is_role(found.group(1)) and "," not in found.group(3):
        named = named_subject(found.group(1).removeprefix("Only "), vocabulary)
    if found is not None and named is not None and found.group(1).startswith(("The ", "A ", "An ", "Only ")):
        yield f"Who {found.group(2)} {found.group(3)}?", found.group(1)


RULES: tuple[Rule, ...] = (
    _quoted_term, _value, _time, _count, _responsible, _definition, _agent, _where, _why, _condition, _when, _verb,
    _duty,
)  # fmt: skip
"""The best kinds first."""
