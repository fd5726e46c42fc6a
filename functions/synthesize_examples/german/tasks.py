"""Rules for what German manuals say: how a thing is done, what it is for, what one may do and what is so."""

from __future__ import annotations

import re
from collections.abc import Iterator

from functions.synthesize_examples.german.grammar import BE, MODAL, OTHERS, is_role, named_subject
from functions.synthesize_examples.language import Pair, Rule
from functions.synthesize_examples.sentences import Vocabulary

_LEANS = re.compile(
    r"\b(?:dies(?:e[rsnm]?)?|jene[rsnm]?|solche[rsnm]?|es|sie|er|ihn|ihm|ihnen|hier|dort|oben|unten|stattdessen|auch|"
    r"ebenfalls|so|dazu|dabei|damit|daran|darauf|davon|dafür|dagegen|andere[rsnm]?|weitere[rsnm]?|"
    r"folgende[rsnm]?|das)\b(?! \w+(?:e[nrs]?) )"
)
_PREFIX = (
    "an|aus|ein|auf|ab|um|vor|nach|bei|zusammen|her|hin|fest|weg|los|zurück|wieder|durch|frei|bereit|weiter|"
    "heraus|herunter|hinzu|hoch|fort|vorbei|sicher|mit|herauf|wiederher|still|kennen"
)
_TO = re.compile(r"Um ([^,;:]{4,90}?) (?:zu ([a-zäöüß]+n)|((?:" + _PREFIX + r")zu[a-zäöüß]+n)), ([^;:]{8,})\.")
_WANT = re.compile(r"Wenn Sie ([^,;:]{4,90}? [a-zäöüß]+n) (?:möchten|wollen), (?:so |dann )?([^;:]{8,})\.")
_DONE = re.compile(
    r"(?:\w+en|tun|geben|rufen) Sie\b|(?:können|müssen|sollten|brauchen|benötigen) Sie\b|(?:kann|muss|sollte) man\b|"
    r"(?:muss|müssen|sollten?|kann|können|genügt|reicht)\b"
)


def _how(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    """`Um eine Partition anzulegen, wählen Sie den freien Speicher aus.`"""
    found = _TO.fullmatch(text)
    if found is not None and not _LEANS.search(found[1]) and _DONE.match(found[4]):
        verb = found[2] or re.sub(rf"^({_PREFIX})zu", r"\1", found[3])
        yield f"Wie kann man {found[1]} {verb}?", text
    found = _WANT.fullmatch(text)
    if found is not None and not _LEANS.search(found[1]) and " wie " not in found[1] and _DONE.match(found[2]):
        yield (
            f"Wie kann man {found[1]}?" if " sich " not in f" {found[1]} " else f"Was ist zu tun, um {found[1]}?",
            text,
        )


_SERVES = re.compile(r"(.{2,90}?) (dient|dienen) ((?:zur|zum|dazu|als|der|dem) .{4,})\.")
_USED = re.compile(
    r"(.{2,90}?) (wird|werden|kann|können) (?:hauptsächlich |auch |nur )?((?:für|zum|zur|als) [^,;:]{3,90}?) "
    r"(verwendet|benutzt|genutzt|eingesetzt|benötigt|gebraucht)((?: werden)?)\."
)
_USED_TO = re.compile(
    r"(.{2,90}?) (wird|werden) (?:dazu )?(verwendet|benutzt|genutzt|eingesetzt|benötigt), (um .{8,})\."
)


def _purpose(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    """`Der Auslagerungsbereich dient als virtueller Speicher.`"""
    found = _SERVES.fullmatch(text)
    named = None if found is None else named_subject(found[1], vocabulary)
    if found is not None and named is not None:
        yield f"Wozu {found[2]} {named}?", found[3]
    found = _USED.fullmatch(text)
    named = None if found is None else named_subject(found[1], vocabulary)
    if found is not None and named is not None and not re.search(rf"\b(?:{BE}|{MODAL})\b", found[3]):
        ask = "Als was" if found[3].startswith("als ") else "Wofür"
        yield f"{ask} {found[2]} {named} {found[4]}{found[5]}?", found[3]
    found = _USED_TO.fullmatch(text)
    named = None if found is None else named_subject(found[1], vocabulary)
    if found is not None and named is not None:
        yield f"Wofür {found[2]} {named} {found[3]}?", found[4]


_ACTS = re.compile(
    r"(.{2,90}?) (enthält|enthalten|bietet|bieten|umfasst|umfassen|benötigt|erfordert|unterstützt|beschreibt|liefert|"
    r"erzeugt|definiert|bestimmt|legt fest|bedeutet|ermöglicht|erlaubt|verwendet|speichert|installiert|erstellt|"
    r"prüft|"
    r"regelt|verwaltet|überwacht|ersetzt|entfernt|löscht|startet|listet|zeigt|gibt an|beinhaltet|stellt bereit) "
    r"((?!sich\b|werden\b|ebenfalls\b|ebenso\b|für\b|unter\b|ohne\b|standardmäßig\b|dazu\b|jedoch\b|lediglich\b|"
    r"nun\b|Sie\b|ihn\b|sie\b|es\b|"
    r"auch\b|nicht\b|dies|das\b|in\b|auf\b|mit\b|von\b|zum?\b|zur\b|bei\b|aus\b|an\b|nur\b|man\b|Ihnen\b|dann\b)"
    r"[^:;]{6,}?)(?: (?:an|auf|bereit))?\."
)
_FROM = re.compile(
    r"(.{2,90}?) (besteht|bestehen|basiert|basieren|beruht|beruhen|hängt|hängen) (aus|auf|von) ([^:;]{4,}?)( ab)?\."
)
_FROM_WORD = {"aus": "Woraus", "auf": "Worauf", "von": "Wovon"}


def _verb(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    """`Das Paket ucf enthält Werkzeuge für Konfigurationsdateien.`"""
    found = _ACTS.fullmatch(text)
    named = None if found is None else named_subject(found[1], vocabulary)
    if found is not None and named is not None:
        yield f"Was {found[2]} {named}?", found[3]
    found = _FROM.fullmatch(text)
    named = None if found is None else named_subject(found[1], vocabulary)
    if found is not None and named is not None and (found[2].startswith("h") == bool(found[5])):
        yield f"{_FROM_WORD[found[3]]} {found[2]} {named}{found[5] or ''}?", f"{found[3]} {found[4]}"


_CALLED = re.compile(
    r"(.{2,90}?) (?:(heißt|heißen) ([^,;:]{2,60})|(wird|werden) (?:auch |oft |meist )?(?:als )?([^,;:]{2,60}?) "
    r"(genannt|bezeichnet))\."
)


def _called(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    """`Ein Paket ohne Betreuer heißt verwaist.`"""
    found = _CALLED.fullmatch(text)
    named = None if found is None else named_subject(found[1], vocabulary)
    if found is not None and named is not None:
        yield (f"Wie {found[2]} {named}?", found[3]) if found[2] else (f"Wie {found[4]} {named} {found[6]}?", found[5])


_STATES = (
    "unterstützt|erforderlich|notwendig|nötig|optional|verfügbar|erlaubt|verboten|möglich|empfohlen|aktiviert|"
    "deaktiviert|"
    "zulässig|unzulässig|vorgeschrieben|verpflichtend|freiwillig|kostenlos|kostenfrei|veraltet|untersagt|"
    "gestattet|enthalten|"
    "installiert|verschlüsselt|automatisch|vorhanden|abgedeckt|versichert|ausgeschlossen|geschützt"
)
_STATE = re.compile(
    rf"(.{{2,90}}?) (ist|sind|wird|werden) ((?:(?:nicht|nicht mehr|immer|derzeit|zurzeit|auch|vollständig|"
    rf"automatisch|standardmäßig|dringend|noch) )*)"
    rf"((?:(?:für|bei|mit|ohne|während|von|unter|auf|in|im|zur|zum) [^,;:]{{3,60}} )?)({_STATES})(?:[,;:] .*)?\."
)
_CUT = r"(?:, (?!um\b|dass\b|damit\b|d(?:er|ie|as|en|em)\b|indem\b).*)?"
_DENIED = re.compile(
    rf"(.{{2,90}}?) ({MODAL}) {OTHERS}((?:[^,;:]{{2,60}} )?)(nicht |keine[nmrs]? |kein )([^,;:]{{4,100}}){_CUT}\."
)
_MAY = re.compile(
    rf"(Sie|.{{2,90}}?) (können|kann|dürfen|darf) (?!nicht\b|auch\b|nur\b|jetzt\b|nun\b|dann\b|so\b|hier\b|"
    rf"kein){OTHERS}([^,;:]{{12,110}}){_CUT}\."
)
_AN = {
    "kein": "ein",
    "keine": "eine",
    "keinen": "einen",
    "keinem": "einem",
    "keiner": "einer",
    "keines": "eines",
    "nicht": "",
}


def _state(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    """`ISDN wird nicht unterstützt.`"""
    found = _STATE.fullmatch(text)
    named = None if found is None or _LEANS.search(found[4]) else named_subject(found[1], vocabulary)
    if found is not None and named is not None:
        yield f"{found[2].capitalize()} {named} {re.sub(r'nicht (?:mehr )?', '', found[4])}{found[5]}?", text


def _may(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    """`Pakete dürfen keine Dateien unter /run enthalten.`"""
    found = _DENIED.fullmatch(text)
    if found is not None and re.search(r"\b(?:oder|und|aber|sondern) $", found[3]):
        return  # a part of the statement is denied: what is left of it would say the opposite
    if found is not None and not _LEANS.search(found[3] + found[5]):
        named = "Sie" if found[1] == "Sie" else named_subject(found[1], vocabulary)
        if named is not None:
            noun = next((word for word in found[5].split() if word[:1].isupper()), "")
            many = found[4] == "keine " and noun.endswith(("n", "s", "e", "er"))
            article = "" if many else _AN[found[4].strip()]
            yield f"{found[2].capitalize()} {named} {found[3]}{article + ' ' if article else ''}{found[5]}?", text
        return
    found = _MAY.fullmatch(text)
    if found is None or _LEANS.search(found[3]):
        return
    named = "Sie" if found[1] == "Sie" else named_subject(found[1], vocabulary)
    if named is not None and (named == "Sie" or is_role(named) or found[3].endswith(" werden")):
        yield f"{found[2].capitalize()} {named} {found[3]}?", text


_MUST = re.compile(r"(.{2,90}?) (muss|müssen|soll|sollen|sollte|sollten) (?!nicht\b|kein)([^;:]{8,140}[a-zäöüß]n)\.")
_BY_DOING = re.compile(rf"(.{{2,90}}?) ({BE}|kann|können) {OTHERS}([^,;:]{{2,80}}), (indem .{{8,}})\.")
_MANNER = re.compile(
    r"(.{2,90}?) (kann|können|wird|werden|lässt sich|lassen sich) (mithilfe [^,;:]{3,60}?|mit Hilfe "
    r"[^,;:]{3,60}?|mittels [^,;:]{3,60}?|"
    r"durch [^,;:]{3,60}?|über [^,;:]{3,60}?|mit (?:dem|der|den) [^,;:]{3,60}?) ((?!\w+ung\b)[a-zäöüß]+(?:t|"
    r"en))((?: werden)?)\."
)


def _must(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    """`Der Betreuer muss jede Änderung dokumentieren.`"""
    found = _BY_DOING.fullmatch(text)
    named = None if found is None or _LEANS.search(found[3]) else named_subject(found[1], vocabulary)
    if found is not None and named is not None:
        yield f"Wie {found[2]} {named} {found[3]}?", found[4]
    found = _MANNER.fullmatch(text)
    named = None if found is None else named_subject(found[1], vocabulary)
    if found is not None and named is not None:
        verb, _, sich = found[2].partition(" ")
        yield f"Wie {verb} {'sich ' if sich else ''}{named} {found[4]}{found[5]}?", found[3]
    found = _MUST.fullmatch(text)
    named = None if found is None or not is_role(found[1]) else named_subject(found[1], vocabulary)
    if found is not None and named is not None and not found[3].endswith((" werden", " sein")):
        yield f"Was {found[2]} {named} tun?", found[3]


TASKS: tuple[Rule, ...] = (_called, _how, _purpose, _verb, _must, _state, _may)
"""The best kinds first."""
