"""The German that the extractive rules know: closed classes of words, and subjects as they stand inside a question."""

from __future__ import annotations

import re

from functions.synthesize_examples.sentences import Vocabulary


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


NUMBER = (
    r"(?:\d[\d.,:]*\d|\d|zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|elf|zwölf|fünfzehn|zwanzig|dreißig|hundert)"
    r"(?: ?[%°€](?: ?C)?)?"
)
BOUND = r"mindestens|höchstens|maximal|bis zu|mehr als|weniger als|genau|etwa|ungefähr|rund"
TIME = (
    r"(?:Sekunden?|Minuten?|Stunden?|Tage?n?|Werktage?n?|Arbeitstage?n?|Kalendertage?n?|Wochen?|Monate?n?|"
    r"Quartale?n?|Jahre?n?)"
)
BE = r"ist|sind|war|waren|wird|werden|wurde|wurden"
OTHERS = r"(?!Sie\b|man\b|wir\b|ich\b|es\b|sie\b)"
"""Behind the verb stands no other subject, which would make an object of what stands before it."""
MODAL = r"muss|müssen|soll|sollen|sollte|sollten|kann|können|könnte|könnten|darf|dürfen"
_ARTICLES = _set("der die das ein eine alle jeder jede jedes sämtliche unser unsere")
_NOT_SUBJECTS = _set(
    "er sie es ihr ihre sein seine wir ich du man dies diese dieser dieses diesen diesem jene jener jenes "
    "solche solcher solches hier dort da dann danach davor dabei damit dafür daher deshalb deswegen darum "
    "außerdem zudem allerdings jedoch aber und oder sondern denn doch auch nur noch schon bereits so wenn "
    "falls sobald nachdem bevor während weil obwohl um ohne mit nach bei von aus zu in im an am auf unter "
    "über für durch gegen bis seit trotz wegen als wie was wer wo wann warum welche welcher welches beide "
    "beides einige manche mehrere viele wenige etwas nichts alles folgende anschließend zuerst zunächst "
    "schließlich normalerweise standardmäßig beachten bitte siehe ebenso ferner andere anderer anderes "
    "weitere weiterer weiteres letztere erstere selbst sonst insbesondere leider möglicherweise beim zum zur "
    "ins vom aufgrund anders neben laut gemäß innerhalb außerhalb anhand mittels je statt anstatt dank "
    "zwischen eventuell vielleicht nun jetzt derzeit momentan natürlich eigentlich meist meistens oft "
    "manchmal teilweise hierbei hierfür hierzu dazu davon daraus darin darauf dadurch dessen deren unser "
    "unsere mein meine kein keine"
)
_UNCLEAR = re.compile(
    r"\b(?:er|sie|es|ihn|ihm|ihnen|dies|diese[rsnm]?|jene[rsnm]?|solche[rsnm]?|folgende[rsnm]?|obige[rsnm]?|"
    r"hier|dort|"
    r"darin|davon|dafür|damit|daran|dabei|dazu|letztere[rsnm]?|erstere[rsnm]?|oben|unten|welche[rsnm]?|wenn|"
    r"falls|dass|ob|Sie|man|wir|ich|denen|derselbe|dieselbe|dasselbe|selben)\b"
)
_VAGUE = re.compile(
    r"(?:(?:der|die|das|ein|eine|jede[rs]?|alle) )?(?:(?:\w+ste|zweite|dritte|nächste|vorherige|letzte|andere|"
    r"weitere|übrige|"
    r"restliche|jeweilige|entsprechende|gleiche|selbe|aktuelle|gegebene|neue|alte|einzige|angegebene|meiste|"
    r"mögliche|gute|"
    r"wichtige|typische|einfache|solche|beide|viele|einige|mehrere|manche|wenige|mehr|weniger|verschiedene|"
    r"populäre|häufige|besondere|allgemeine|zusätzliche|allgemeinste)[nrsm]?|Grund|Gründe|Fall|Fälle|Problem|"
    r"Probleme|"
    r"Beispiele?|Teile?|Art|Weise|Dinge?|Ziel|Ergebnisse?|Zweck|Sache|Unterschiede?|Vorteile?|Nachteile?|Schritte?|"
    r"Informationen|Frage|Antwort|Abschnitte?|Kapitel|Tabelle|Abbildung|Liste|Möglichkeit\w*|Punkte?|Rest|"
    r"Einzelheiten|Hinweise?|Anmerkung|Details|eine[rs]? de[rs])\b(?!-)"
)
_ALONE = _set(
    "wert werte option optionen befehl befehle feld felder name namen zeile zeilen text eintrag einträge "
    "prozess methode ausgabe eingabe auswahl einstellung einstellungen parameter nachricht meldung schlüssel "
    "wort wörter argument nummer typ reihenfolge inhalt daten änderung aktion position version seite skript "
    "system datei dateien"
)
_BAD_QUESTION = re.compile(
    r"\b(?:er|es|ihn|ihm|ihnen|dies|diese[rsnm]? (?!Lizenz|Vertrag|Ordnung|Richtlinie)|jene[rsnm]?|"
    r"solche[rsnm]?|folgende[rsnm]?|"
    r"obige[rsnm]?|oben|unten|hier|dort|wir|ich|letztere[rsnm]?|erstere[rsnm]?|nachfolgend\w*|stattdessen|ebenfalls|"
    r"jedoch|allerdings|somit|außerdem|deshalb|daher|dazu|dabei|hierfür|hierzu|hierbei|siehe|und/oder|denselben|dieselben?)\b|"
    r"(?<!^)\b[a-z]\w* sie\b"
)
_ROLE = re.compile(
    r"(?:\w*(?:leiter|leitung|beauftragter?n?|abteilung|team|vorstand|verwalter|betreuer|administrator|prüfer|"
    r"meister|"
    r"mitarbeiter|techniker|ingenieur|arzt|ärztin|pfleger|händler|lieferant|kunde|nutzer|benutzer|anwender|"
    r"entwickler|"
    r"hersteller|inhaber|nehmer|geber|führer|halter|mieter|vermieter|käufer|verkäufer|behörde|kommission|"
    r"ausschuss|rat|"
    r"verantwortlicher?n?|zuständiger?n?|verwaltung|personal|fahrer|lehrer|schüler|paketbetreuer|einkauf|projekt)"
    r"(?:in|innen|n|s|en|e)?)\b",
    re.IGNORECASE,
)
_CHARACTERS = range(12, 231)


def named_subject(text: str, vocabulary: Vocabulary) -> str | None:
    """Return the subject that begins a sentence as it stands inside a question, or None where it names nothing."""
    first, _, rest = text.partition(" ")
    bare = first.strip("\"„“'`»«").lower()
    if bare in _NOT_SUBJECTS or len(text.split()) > 10 or _UNCLEAR.search(rest) or re.search(r"[,;:?]", text):
        return None
    if text.count("(") != text.count(")") or re.search(
        rf"\b(?:{BE}|{MODAL}|nicht|hat|haben|und|oder|der|die|das)$", text
    ):
        return None
    if re.search(rf"\b(?:{BE}|{MODAL}|hat|haben)\b", text):
        return None
    small = first[:1].lower() + first[1:]
    named = f"{small} {rest}".strip() if bare in _ARTICLES or vocabulary.is_small(first) else text
    words = named.split()
    if _VAGUE.match(named) or (bare in _ARTICLES and not rest):
        return None
    if words[0] in ("der", "die", "das") and len(words) == 2 and words[1].isalpha():
        return named if words[1].lower() not in _ALONE and vocabulary.is_theme(words[1]) else None
    return named if any(word[:1].isupper() or not word[:1].isalpha() for word in words) else None


def is_role(noun_phrase: str) -> bool:
    """Return whether a noun phrase says who: `Der Brandschutzbeauftragte`, `die Einkaufsabteilung`."""
    head = re.split(r" (?:für|des|der|von|im|in|aus|mit) ", noun_phrase)[0].split()
    return bool(head) and _ROLE.fullmatch(head[-1]) is not None


def asked(question: str) -> str | None:
    """Return `question` on one line, or None when it cannot be read alone or is no good German."""
    text = " ".join(question.split()).replace(" ?", "?").replace(" ,", ",")
    if len(text) not in _CHARACTERS or "!" in text or _BAD_QUESTION.search(text) or text.count('"') % 2:
        return None
    if text.count("(") != text.count(")") or text.count("„") != text.count("“"):
        return None
    return None if re.search(r"(?:\b(?:und|oder|der|die|das|ein|eine|dass|nicht|nur|auch|zu)|,)\?$", text) else text
