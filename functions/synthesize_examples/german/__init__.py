"""German."""

from __future__ import annotations

import re

from functions.synthesize_examples.german.grammar import asked
from functions.synthesize_examples.german.rules import RULES
from functions.synthesize_examples.german.tasks import TASKS
from functions.synthesize_examples.language import Language


def _cell(column: str, key: str, name: str) -> str:
    # The column's gender is not known, so that no article stands before it.
    return f"Was steht bei {f'{key} {name}' if key else name} unter „{column}“?"


LANGUAGE = Language(
    code="de",
    rules=(*RULES, *TASKS),
    asked=asked,
    points=re.compile(
        r"(?i)\b(?:folgende[rsnm]?|nachfolgend\w*|unten|oben|obige[rsnm]?|hier|siehe|wie folgt|letztere[rsnm]?|"
        r"erstere[rsnm]?)\b|"
        r"\bdiese[rsnm]? (?!Lizenz|Dokument|Handbuch|Anleitung|Vertrag|Richtlinie|Ordnung)|^(?:dies|das|es|sie|er)\b|"
        r"\b(?:Kapitel|Abschnitt|Anhang|Tabelle|Abbildung) [\dA-Z]"
    ),
    narrowing=re.compile(
        r"(?i)\b(?:wenn|falls|nur|sofern|soweit|außer|ausgenommen|bis|sobald|solange|während|aber|jedoch|"
        r"sondern|ohne|"
        r"nicht|kein\w*|nie|niemals|normalerweise|üblicherweise|gewöhnlich|meist\w*|oft|manchmal|eventuell|"
        r"vielleicht|"
        r"möglicherweise|kann|können|könnte\w*|soll\w*|muss|müssen|darf|dürfen|mindestens|höchstens|bis zu|weil|"
        r"obwohl|"
        r"stattdessen|oder|dann)\b"
    ),
    opening=re.compile(
        r"(?:(?:Bitte )?[Bb]eachten Sie(?: bitte| auch)?, dass|Außerdem|Zudem|Zum Beispiel|Beispielsweise|"
        r"Allerdings) (?=\b\B)"
    ),
    begins=re.compile(
        r"(?:Was|Wer|Wen|Wem|Wo|Wohin|Woher|Wann|Warum|Weshalb|Wieso|Wie|Wozu|Wofür|Womit|Welche[rsnm]?|Ist|"
        r"Sind|Kann|"
        r"Können|Muss|Müssen|Soll\w*|Darf|Dürfen|Gibt|Hat|Haben|Wird|Werden)\b.+\?"
    ),
    evades=re.compile(r"(?:Dies(?:e|e eine)?|Eine|Die) (?:\w+ )?(?:Frage|Antwort)\b|Das (?:hängt|kommt darauf an)\b"),
    cell=_cell,
)
