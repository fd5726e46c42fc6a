"""Rules from a German sentence to a question about it: what, who, when, how many, where, why, what if."""

from __future__ import annotations

import re
from collections.abc import Iterator

from functions.synthesize_examples.german.grammar import BE, BOUND, MODAL, NUMBER, OTHERS, TIME, is_role, named_subject
from functions.synthesize_examples.language import Pair, Rule
from functions.synthesize_examples.sentences import Vocabulary

_IS_A = re.compile(r"(.{2,90}?) (ist|sind) ((?:ein|eine|der|die|das) [^;]{12,})\.")
_NO_KIND = re.compile(
    r"(?:ein|eine) (?:gute[rs]?|schlechte[rs]?|bisschen|wenig|Problem|Muss|Grund|Fehler|häufige[rs]?|"
    r"wichtige[rs]?|große[rs]?)\b|"
    r"(?:der|die|das) (?:gleiche|selbe|einzige|erste|letzte|nächste|Fall|Grund|beste|\w+ste)\b|"
    r"(?:die|das|der)(?:jenige)? (?:folgende|obige)"
)
_TERM = re.compile(r"[\"„“]([^\"„“”]{3,60})[\"“”] (bedeutet|bezeichnet|meint|steht für) (.{8,})\.")
_ENDS = re.compile(
    r"(?:ge\w+t|\w+(?:iert|nommen|geben|bunden|schrieben|lassen|worden|stellt|setzt|legt|macht|führt|fügt|zeigt|"
    r"nutzt|wendet))$"
)


def _definition(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    found = _TERM.fullmatch(text)
    if found is not None:
        verb = "Wofür steht" if found[2] == "steht für" else f"Was {found[2]}"
        yield f"{verb} „{found[1]}“?", found[3]
    found = _IS_A.fullmatch(text)
    if found is None or _NO_KIND.match(found[3]) or _ENDS.search(found[3]) or len(found[3].split()) < 4:
        return
    named = named_subject(found[1], vocabulary)
    if named is not None and named.split()[-1] not in found[3].split()[:3]:
        yield f"Was {found[2]} {named}?", found[3]


_RESPONSIBLE = re.compile(r"(.{2,90}?) (ist|sind) (für [^,;:]{4,90}) (zuständig|verantwortlich)\.")


def _responsible(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    found = _RESPONSIBLE.fullmatch(text)
    named = None if found is None else named_subject(found[1], vocabulary)
    if found is None or named is None:
        return
    if is_role(found[1]):
        yield f"Wer ist {found[3]} {found[4]}?", found[1]
    yield f"Wofür {found[2]} {named} {found[4]}?", found[3]


_AMOUNT = re.compile(
    rf"(.{{4,90}}?) (beträgt|betragen|liegt bei|liegen bei|lautet|lauten) ((?:(?:{BOUND}) )?[^,;:]{{1,60}})\."
)
_STANDARD = re.compile(
    r"((?:Der|Die|Das) (?:Standard\w*|Vorgabe\w*|Voreinstellung|vorgegebene \w+|voreingestellte \w+|übliche "
    r"\w+)(?: (?:für|von|des|der) [^,;:]{3,60}?)?)"
    r" (ist|lautet) ([^;:]{2,80})\."
)
_SIZES = {"länge": "lang", "dauer": "lang", "frist": "lang", "größe": "groß", "fläche": "groß", "zahl": "groß"}


def _value(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    found = _AMOUNT.fullmatch(text)
    named = None if found is None else named_subject(found[1], vocabulary)
    if found is not None and named is not None:
        if found[2].startswith("laute"):
            yield f"Wie {found[2]} {named}?", found[3]
        elif re.search(NUMBER, found[3]):
            head = re.split(" (?:der|des|von|für|im|in|an) ", named)[0].lower()
            size = next((word for ending, word in _SIZES.items() if head.endswith(ending)), "hoch")
            yield f"Wie {size} {'sind' if found[2] in ('betragen', 'liegen bei') else 'ist'} {named}?", found[3]
    found = _STANDARD.fullmatch(text)
    if found is not None and not _ENDS.search(found[3]):
        yield f"Wie lautet {found[1][0].lower()}{found[1][1:]}?", found[3]


_SPAN = rf"(?:einer?|einem|einen|{NUMBER}) {TIME}"
_TIMES = tuple(
    (ask, re.compile(rf"\b{pattern}(?![\w-])"))
    for ask, pattern in (
        (
            "Wie oft",
            rf"(?:(?:{BOUND}) )?(?:alle (?:{NUMBER} )?{TIME}|jede[ns]? (?:Tag|Woche|Monat|Quartal|Jahr)|"
            rf"(?:einmal|zweimal|dreimal|viermal) (?:am|pro|im|in der|je) (?:Tag|Woche|Monat|Quartal|Jahr)|"
            rf"täglich|wöchentlich|"
            rf"monatlich|vierteljährlich|halbjährlich|jährlich)",
        ),
        ("Innerhalb welcher Frist", rf"(?:innerhalb (?:von )?|binnen ){_SPAN}"),
        ("Nach welcher Zeit", rf"(?:spätestens )?nach {_SPAN}"),
        (
            "Wie lange",
            rf"(?:(?:{BOUND}) )?(?:{NUMBER} {TIME} lang|für (?:(?:{BOUND}) )?{_SPAN}|{NUMBER} {TIME}(?= (?:lang "
            rf")?\w*(?:bewahr|gespeicher|gehalt|gültig|aufgehob|gelager)))",
        ),
        (
            "Wann",
            r"(?:am (?:\d{1,2}\. (?:[A-Z][a-zä]+|\d{1,2}\.)(?: ?\d{4})?|(?:ersten|letzten) \w+ (?:jedes|des) \w+)|"
            r"im (?:Januar|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember|"
            r"Jahr(?:e)?)(?: \d{4})?|"
            r"seit \d{4}|bis zum \d{1,2}\. [A-Z][a-zä]+)",
        ),
    )
)
_CLAUSE = re.compile(
    rf"(.{{2,90}}?) ({BE}|{MODAL}|findet|finden|gilt|gelten|dauert|endet|beginnt|erscheint) {OTHERS}(.+)\."
)


def _time(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    found = _CLAUSE.fullmatch(text)
    named = None if found is None else named_subject(found[1], vocabulary)
    if found is None or named is None:
        return
    for ask, pattern in _TIMES:
        time = pattern.search(found[3])
        if time is None or re.search(r"[,;:(]", found[3][: time.start()]):
            continue
        left = found[3][: time.start()] + found[3][time.end() :].lstrip()
        if len(left.split()) > 0 and not re.search(r"[,;:]", left):
            yield f"{ask} {found[2]} {named} {left.strip()}?", time.group()
        return


_HAS = re.compile(
    rf"(.{{2,90}}?) (hat|haben|enthält|enthalten|besitzt|besitzen|umfasst|umfassen) ((?:{BOUND}) )?({NUMBER}) "
    rf"([A-ZÄÖÜ][\w-]+(?:e|en|er|n|s))(?:(?: (?:in|für|pro|mit|im|je)\b|[,;:]).*)?\."
)


def _count(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    found = _HAS.fullmatch(text)
    named = None if found is None else named_subject(found[1], vocabulary)
    if found is not None and named is not None:
        yield f"Wie viele {found[5]} {found[2]} {named}?", f"{found[3] or ''}{found[4]} {found[5]}"


_BY = re.compile(
    r"(.{2,90}?) (wird|werden|wurde|wurden) (?:von|durch) ((?:der|dem|den|einem|einer)? ?[^,;:]{3,60}?) ((?:\w+ "
    r")?\w+(?:t|en))\."
)


def _agent(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    found = _BY.fullmatch(text)
    named = None if found is None or not is_role(found[3]) else named_subject(found[1], vocabulary)
    if found is not None and named is not None:
        yield f"Von wem {found[2]} {named} {found[4]}?", found[3]


_PLACE = r"(?:(?:in|im|auf|unter|an|am|bei|beim|hinter|neben|vor|über|zwischen) [^,;:]{3,100})"
_LIES = re.compile(
    rf"(.{{2,90}}?) (befinde[tn] sich|finde[tn] sich|liegt|liegen|finden Sie|findet man|steht|stehen) (?:auch |"
    rf"standardmäßig )?({_PLACE})\."
)
_STORED = re.compile(
    rf"(.{{2,90}}?) ({BE}|kann|können|muss|müssen|sollte|sollten) (?:auch )?({_PLACE}?) "
    r"(gespeichert|abgelegt|verfügbar|erhältlich|beschrieben|dokumentiert|installiert|aufgeführt|zu finden|"
    r"aufgelistet|"
    r"erklärt|definiert|hinterlegt|untergebracht|aufbewahrt|eingetragen|veröffentlicht|angegeben|vorhanden|"
    r"archiviert)"
    r"((?: werden)?)\."
)
_NO_PLACE = re.compile(
    r"(?:in|im|auf|unter|an|am|bei|vor|über) (?:der Regel|unter|diese[rsnm]?|diesem|jede[rsnm]?|allen?|vielen|"
    r"einigen|"
    r"der Lage|"
    r"Zukunft|Ordnung|der folgenden|den folgenden|dem folgenden|folgende[rsnm]?|Form|erster Linie|beiden?|Bezug|"
    r"Frage|Kraft|"
    r"der Nähe|Umständen|Betracht|\d{4}|ein(?:em|er) (?:ander|ähnlich))\b"
)


def _where(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    found = _LIES.fullmatch(text)
    named = None if found is None or _NO_PLACE.match(found[3]) else named_subject(found[1], vocabulary)
    if found is not None and named is not None:
        verb, _, particle = found[2].partition(" ")
        order = f"{verb} {particle} {named}" if particle in ("sich", "Sie", "man") else f"{verb} {named}"
        yield f"Wo {order}?", found[3]
    found = _STORED.fullmatch(text)
    named = None if found is None or _NO_PLACE.match(found[3]) else named_subject(found[1], vocabulary)
    if found is not None and named is not None:
        yield f"Wo {found[2]} {named} {found[4]}{found[5]}?", found[3]


_BECAUSE = re.compile(rf"(.{{2,90}}?) ({BE}|{MODAL}|hat|haben) {OTHERS}([^,;:]{{3,100}}), ((?:weil|da) .{{8,}})\.")


def _why(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    found = _BECAUSE.fullmatch(text)
    named = None if found is None else named_subject(found[1], vocabulary)
    if found is not None and named is not None:
        yield f"Warum {found[2]} {named} {found[3]}?", found[4]


_WHEN = re.compile(
    rf"(.{{2,90}}?) ({BE}|{MODAL}) (?!nicht\b){OTHERS}([^,;:]{{3,80}}), ((?:nur )?(wenn|falls|sobald|nachdem|"
    rf"bevor|sofern) [^;:]{{8,}})\."
)


def _when(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    found = _WHEN.fullmatch(text)
    named = None if found is None else named_subject(found[1], vocabulary)
    if found is not None and named is not None:
        word = "In welchem Fall" if found[5] in ("falls", "wenn", "sofern") else "Wann"
        yield f"{word} {found[2]} {named} {found[3]}?", found[4]


_CONDITION = re.compile(r"(Wenn|Falls|Sobald|Nachdem|Bevor) ([^,;:]{10,90}), (?:so |dann )?([^;:]{8,})\.")
_YOU = re.compile(r"(sollten|müssen|können|dürfen|könnten|sollen) Sie ((?!nicht\b).+)")
_IMPERATIVE = re.compile(r"(?:\w+en|tun) Sie(?: bitte)?\b .+|(?:rufen|wenden|melden|schalten|legen|geben) Sie\b.+")
_HAPPENS = re.compile(
    r"(wird|werden|startet|erscheint|erhält|bricht|öffnet|beginnt|versucht|gilt|entfällt|endet|erfolgt|läuft|"
    r"fragt|zeigt) (.+)"
)
_NOT_SAID = re.compile(
    r"\b(?:also|damit|dabei|davon|dafür|daran|dies(?:e[rsnm]?)?|das|es|sie|er|ihn|ihm|solche[rsnm]?|hier|dort|"
    r"so|obige\w*)\b"
)


def _condition(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    found = _CONDITION.fullmatch(text)
    if found is None or _NOT_SAID.search(found[2]) or re.search(r"\b(?:hiermit|hierzu|hierbei|hierfür)\b", found[3]):
        return
    when, condition, main = found[1].lower(), found[2], found[3]
    you = _YOU.match(main)
    if you is not None:
        yield f"Was {you[1]} Sie tun, {when} {condition}?", text
    elif _IMPERATIVE.match(main) and not re.match(
        rf"(?:{BE}|{MODAL}|haben|möchten|wollen|finden|sehen|erhalten|bekommen) ", main
    ):
        yield f"Was sollten Sie tun, {when} {condition}?", text
    elif _HAPPENS.match(main) and not re.search(r"\b(?:dies(?:e[rsnm]?)?|das)\b", main[:30]):
        yield f"Was geschieht, {when} {condition}?", text


RULES: tuple[Rule, ...] = (
    _value, _time, _count, _responsible, _definition, _agent, _where, _why, _condition, _when
)  # fmt: skip
"""The best kinds first."""
