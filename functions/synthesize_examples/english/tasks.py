"""Rules for what manuals say: how a thing is done, what it is for, what one may do and what is so."""

from __future__ import annotations

import re
from collections.abc import Iterator

from functions.synthesize_examples.english.grammar import AUX, is_role
from functions.synthesize_examples.english.rules import named_subject
from functions.synthesize_examples.language import Pair, Rule
from functions.synthesize_examples.sentences import Vocabulary

_LEANS = re.compile(
    r"(?i)\b(?:that|its?|their|they|them|these|those|this|such|instead|also|otherwise|same|so|above|below|do|another|"
    r"again|here|there|first|second|other|following|one|ones|both|any of the|each of the)\b"
)
_UNSAID = re.compile(
    r"(?i)\b(?:it|they|them|that|these|those|this|such|instead|same|above|below|here|there|another|ones?|also|too)\b"
)
_DOING = [
    "add",
    "allow",
    "apply",
    "avoid",
    "boot",
    "build",
    "burn",
    "change",
    "check",
    "choose",
    "clear",
    "close",
    "compile",
    "configure",
    "connect",
    "continue",
    "convert",
    "copy",
    "create",
    "customize",
    "define",
    "delete",
    "determine",
    "disable",
    "display",
    "download",
    "edit",
    "enable",
    "encrypt",
    "enter",
    "erase",
    "exit",
    "extend",
    "extract",
    "find",
    "fix",
    "format",
    "generate",
    "get",
    "identify",
    "import",
    "include",
    "initialize",
    "inspect",
    "install",
    "list",
    "load",
    "log",
    "make",
    "manage",
    "mark",
    "modify",
    "mount",
    "move",
    "open",
    "partition",
    "perform",
    "play",
    "prepare",
    "prevent",
    "print",
    "provide",
    "put",
    "read",
    "rebuild",
    "receive",
    "recover",
    "reduce",
    "refer",
    "register",
    "remove",
    "rename",
    "repair",
    "replace",
    "report",
    "request",
    "rescue",
    "reset",
    "resize",
    "resolve",
    "restart",
    "restore",
    "return",
    "run",
    "save",
    "search",
    "select",
    "send",
    "set",
    "share",
    "show",
    "shut",
    "sign",
    "specify",
    "split",
    "start",
    "stop",
    "store",
    "submit",
    "subscribe",
    "support",
    "switch",
    "sync",
    "test",
    "transfer",
    "undo",
    "uninstall",
    "unlock",
    "unmount",
    "update",
    "upgrade",
    "upload",
    "use",
    "verify",
    "view",
    "watch",
    "work",
    "write",
    "ask",
    "charge",
    "clean",
    "cancel",
    "fill",
    "hold",
    "keep",
    "order",
    "pay",
    "plan",
    "reach",
    "repeat",
    "ship",
    "activate",
    "access",
    "obtain",
]
_VERB = "|".join(_DOING)
_ORDERS = re.compile(
    rf"(?:simply |just |first |then )?(?:{_VERB}|boot|press|type|turn|plug|click|hit|pass|omit|call|contact|wait|see|"
    rf"follow|tell|leave|insert|issue|invoke|go|look|consult|try|reboot|execute)\b"
)
_YOU = re.compile(
    r"(?:you|users|one)(?: will| may| might)? (?:can|could|must|should|need|have|may|will|just|"
    r"simply)\b"
)
_TO = re.compile(
    r"(?:In order to|To|If you (?:want|wish|need|would like|like) to) ((?!the|this|that|an?|be|do|make sure|"
    r"date|my|your\b)[a-z]+ [^,;:]{4,90}), ([^;:]{8,})\."
)
_USE = re.compile(
    rf"(Use|Run|Press|Type|Choose|Select|Execute|Issue|Enter|Set|Edit|Create|Open|Click|Go to|Visit|Call|Add|"
    rf"Turn|Pass|Push|Hold) [^,;:]{{2,80}} to ((?:{_VERB})\b[^,;:]*)\."
)
_YOU_USE = re.compile(
    rf"(?:You (?:can|may|should|must|need to|have to)(?: also)? (?:use|run|press|choose|select|execute)|"
    rf"It is possible to use|Use) ([^,;:]{{2,80}}?) to ((?:{_VERB})\b[^,;:]*)\."
)
_BY_DOING = re.compile(
    r"(.{2,90}?) ((?:can|could|may|must|should|is|are)(?: be)?) ([a-z][^,;:]{2,90}?) "
    r"((?:by (?:\w+ly )?\w+ing|using|via|with the help of|by means of)\b .{4,})\."
)


def _how(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    """`To add a user, run adduser.`"""
    found = _TO.fullmatch(text)
    if found is not None and not _LEANS.search(found[1]):
        if _ORDERS.match(found[2]) or _YOU.match(found[2]):
            yield f"How do you {found[1]}?", text
        return
    found = _USE.fullmatch(text)
    if found is not None and not _LEANS.search(found[2]):
        yield f"How do you {found[2]}?", text
        return
    found = _YOU_USE.fullmatch(text)
    if found is not None and not _LEANS.search(found[2]):
        yield f"What can you use to {found[2]}?", found[1]


def _by_doing(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    """`A module can be loaded by running modprobe.`"""
    found = _BY_DOING.fullmatch(text)
    if found is None or _LEANS.search(found[3]) or re.match(r"(?:not|also|only|either|now)\b", found[3]):
        return
    aux, _, be = found[2].partition(" ")
    if found[1] == "You" and not be and re.match(rf"(?:{_VERB})\b", found[3]):
        yield f"How {aux} you {found[3]}?", found[4]
    named = named_subject(found[1], vocabulary)
    if named is not None and re.match(r"(?:\w+ly )?\w+(?:ed|en|un|ilt|ade|wn|pt|ld|set|ound|t)\b", found[3]):
        yield f"How {aux} {named} {be + ' ' if be else ''}{found[3]}?", found[4]


_USED = re.compile(
    r"(.{2,90}?) (is|are|was|were|can be|may be|should be|must be|will be) (?:mainly |only |also |typically |"
    r"usually )?"
    r"(used|needed|required|intended|designed|meant|responsible) ((?:to|for|as) .{6,})\."
)
_ALLOWS = re.compile(
    r"(.{2,90}?) (allows?|lets?|enables?|helps?|permits?) (you|users|the user|administrators|developers|maintainers|"
    r"packages|programs) ((?:to )?[a-z].{6,})\."
)


def _purpose(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    """`Swap space is used to store idle pages.`"""
    found = _USED.fullmatch(text)
    named = None if found is None else named_subject(found[1], vocabulary)
    if found is not None and named is not None:
        aux, _, be = found[2].partition(" ")
        preposition = "as" if found[4].startswith("as ") else "for"
        yield f"What {aux} {named} {be + ' ' if be else ''}{found[3]} {preposition}?", found[4]
    found = _ALLOWS.fullmatch(text)
    named = None if found is None else named_subject(found[1], vocabulary)
    if found is not None and named is not None and found[4].startswith(("to ", "install", "create", "choose", "use")):
        do, verb = ("does", found[2][:-1]) if found[2].endswith("s") else ("do", found[2])
        yield f"What {do} {named} {verb} {found[3]} {'to ' if found[4].startswith('to ') else ''}do?", text


_FOUND = re.compile(
    r"(.{2,90}?) (is|are|was|were|can be|may be|must be|should be|will be) (?:also )?(available|found|listed|"
    r"described|"
    r"explained|documented|defined|discussed|declared|placed|saved|logged|mounted|looked up|downloaded|obtained|"
    r"recorded|configured|specified|set|sent|reported|submitted|written) "
    r"((?:in|at|on|under|from|to|into|below) (?:the |an? |your |its )?[^,;:]{3,100})\."
)
_NO_PLACE = re.compile(
    r"(?:in|on|at|to|from|under) (?:order|the (?:event|case|same|above|following|next|previous|end|time|way|"
    r"form|first)|"
    r"addition|general|particular|a (?:way|similar|manner|later|few|single|different)|detail|time|once|least|most|"
    r"use|case|this|that|these|those|it|them|their|its|which|advance|one|two|three|some|both|\d|[A-Z][a-z]+ \d{4})\b"
)
_ACTS = re.compile(
    r"(.{2,90}?) ((?:automatically |then |also |normally |usually )?(?:creat|set|list|install|show|display|"
    r"check|read|writ|start|"
    r"run|load|us|need|offer|convert|ask|assum|expect|return|print|select|hold|stor|remov|delet|add|updat|build|"
    r"record|"
    r"search|copi|send|sav|allocat|configur|download|extract|match|execut|indicat|specifi|disabl|merg|govern|regulat|"
    r"reserv|grant|warrant|limit|exclud|exempt)e?s) ((?:the|an?|all|any|each|every|both|no|new|which|your|"
    r"[\"“'`/]|\d)[^:]{4,})\."
)


def _acts(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    """`The option -n prints the plan.`"""
    found = _ACTS.fullmatch(text)
    named = None if found is None else named_subject(found[1], vocabulary)
    if found is not None and named is not None and not re.search(r"\b(?:to|and|or)\b", found[1]):
        yield f"What does {named} do?", f"{found[2]} {found[3]}"


_CALLED = re.compile(
    r"(.{2,90}?) (is|are) (?:also |usually |commonly |often )?(called|known as|named) (?!(?:after|before|by|"
    r"with|when|from|in|during|as|to|on|for|at|once|if)\b)([^,;:]{2,60})\."
)
_DEFAULTS = re.compile(r"(.{2,90}?) defaults to ([^;:]{1,80})\.")


def _called(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    """`A package without an owner is called an orphan.`"""
    found = _CALLED.fullmatch(text)
    named = None if found is None else named_subject(found[1], vocabulary)
    if found is not None and named is not None:
        yield f"What {found[2]} {named} {found[3]}?", found[4]
    found = _DEFAULTS.fullmatch(text)
    named = None if found is None else named_subject(found[1], vocabulary)
    if found is not None and named is not None:
        yield f"What does {named} default to?", found[2]


_FOUND_AT = {"to": "Where", "into": "Where", "from": "From where", "below": "Where"}


def _found(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    """`Release notes can be found at example.org.`"""
    found = _FOUND.fullmatch(text)
    named = None if found is None or _NO_PLACE.match(found[4]) else named_subject(found[1], vocabulary)
    if found is not None and named is not None:
        aux, _, be = found[2].partition(" ")
        where = _FOUND_AT.get(found[4].split()[0], "Where")
        yield f"{where} {aux} {named} {be + ' ' if be else ''}{found[3]}?", found[4]


_VALUES = re.compile(
    r"(The (?:acceptable|possible|valid|allowed|permitted|supported|available|legal|recognized) \w+s(?: (?:for|"
    r"of|in) [^,;:]{3,60}?)?) "
    r"are ([^;]{4,})\."
)
_DEFAULT = re.compile(r"(The default [^,;:]{3,60}?|By default, [^,;:]{3,60}?) (is|are) ([^;:]{2,80})\.")


def _default(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    """`The default port is 8080.`"""
    found = _VALUES.fullmatch(text)
    if found is not None and " " in found[1][4:]:
        yield f"What are t{found[1][1:]}?", found[2].removeprefix(": ")
    found = _DEFAULT.fullmatch(text)
    if found is None or re.search(r"\b(?:which|that|who|not|and|to)\b", found[1]):
        return
    if found[1].startswith("The default "):
        if not re.match(r"(?:\w+ed|used|set)\b", found[3]) and found[1].split()[2] not in ("is", "value", "one"):
            yield f"What {found[2]} {found[1][0].lower()}{found[1][1:]}?", found[3]
        return
    named = named_subject(found[1].removeprefix("By default, ").capitalize(), vocabulary)
    if named is not None and re.match(r"\w+ed\b|not \w+ed\b", found[3]):
        yield f"What happens to {named} by default?", text


_STATES = (
    "supported|required|available|enabled|disabled|allowed|permitted|recommended|deprecated|obsolete|mandatory|"
    "optional|"
    "encrypted|included|installed|possible|prohibited|forbidden|discouraged|guaranteed|needed|necessary|"
    "essential|free|"
    "automatic|compatible|unsupported|usable|visible|started|created|replaced|removed|covered|insured|refundable"
)
_STATE = re.compile(
    rf"(.{{2,90}}?) (is|are) ((?:not |no longer |currently |fully |automatically |strongly |always |also )*)"
    rf"({_STATES})((?: (?:in|on|by|for|from|during|with|as|to|under|at)\b[^,;:]*)?)(?:[,;:] .*)?\."
)
_PLACED = (
    "available",
    "included",
    "installed",
    "visible",
    "created",
    "started",
    "replaced",
    "covered",
    "needed",
    "required",
)
_STATED = re.compile(r"(?:by|to) \w+ing|(?:[^.]*\b(?:that|which|who|it|they|these|this|if|when|unless)\b)")


def _state(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    """`ISDN is supported, but not during the installation.`"""
    found = _STATE.fullmatch(text)
    named = None if found is None else named_subject(found[1], vocabulary)
    if found is not None and named is not None:
        tail = found[5].lstrip()
        if not _STATED.match(tail) and not (
            found[4] in _PLACED and re.match(r"(?:in|at|on|from|under|with|as)\b", tail)
        ):
            yield f"{found[2].capitalize()} {named} {found[4]}{found[5]}?", text


_PERMITTED = re.compile(
    r"(.{2,90}?) (may not|must not|should not|cannot|can not|can|may|need not) (?!(?:also|only|then|now|still|"
    r"even|simply|easily|skip|wish|want|need|notice|like|have|expect|find|see|take|just|"
    r"always|later|ignore|assume|be (?:seen|found|able))\b)"
    r"((?:be )?[a-z][\w-]+ [^;:]{4,110}?)((?:,? (?:if|unless|except|because|but|until|when|as long as|so|"
    r"since)\b.*)?)\."
)
_ASKS = {
    "may not": "May",
    "must not": "May",
    "should not": "Should",
    "cannot": "Can",
    "can not": "Can",
    "need not": "Need",
}


def _may(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    """`Packages must not depend on a prompt.`"""
    found = _PERMITTED.fullmatch(text)
    if found is None or _UNSAID.search(found[3]):
        return
    named = "you" if found[1] == "You" else named_subject(found[1], vocabulary)
    if named is not None:
        denied = found[2] in _ASKS
        if found[2] == "may not" and not (named == "you" or is_role(named) or re.match(r"be \w+ed\b", found[3])):
            return
        if denied or named == "you" or is_role(named) or re.match(r"be \w+(?:ed|en|un|ilt|ade|et)\b", found[3]):
            yield f"{_ASKS.get(found[2], found[2].capitalize())} {named} {found[3].split(',')[0]}?", text


_MUST = re.compile(
    r"(.{2,90}?) (must|should|shall) (?!(?:\w+ly |almost |always )*be\b|not\b|also\b|only\b|have been\b|"
    r"never\b)([^;:]{8,160})\."
)
_MANNER = re.compile(
    r"(.{2,90}?) (must|should|can|may) be ((?:\w+ly )?\w+(?:ed|en|un|ilt|ade|wn|et)(?: down| up| off| out)?) "
    r"(in (?:an?|the) [\w-]*(?: ?[\w-]+)? ?(?:manner|way|order|form|format)\b.*|(?:with|as|like) (?:an?|the) .{4,})\."
)
_DOES_NOT = re.compile(
    r"(.{2,90}?) (does|do) not (?!have\b|mean\b|seem\b|always\b|necessarily\b|matter\b)([a-z]+ [^;:]{6,110}?)"
    r"((?:,? (?:if|unless|except|because|but|until|when|so|since|as)\b.*)?)\."
)


def _does_not(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    """`The archive does not accept hard links.`"""
    found = _DOES_NOT.fullmatch(text)
    named = None if found is None or _UNSAID.search(found[3]) else named_subject(found[1], vocabulary)
    if found is not None and named is not None:
        yield f"{found[2].capitalize()} {named} {found[3].split(',')[0]}?", text


_SO = re.compile(
    rf"(.{{2,90}}?) ({AUX}) (?!not\b)([^,;:]{{6,100}}?),? ((?:so that|in order to|in order that) .{{8,}})\."
)


def _must(text: str, vocabulary: Vocabulary) -> Iterator[Pair]:
    """`Font packages must declare a dependency on xfonts-utils.`"""
    found = _SO.fullmatch(text)
    named = None if found is None or _LEANS.search(found[3]) else named_subject(found[1], vocabulary)
    if found is not None and named is not None:
        yield f"Why {found[2]} {named} {found[3]}?", found[4]
        return
    found = _MUST.fullmatch(text)
    named = None if found is None else named_subject(found[1], vocabulary)
    if found is not None and named is not None and len(found[1].split()) > 1:
        yield f"What {found[2]} {named} do?", found[3]
    found = _MANNER.fullmatch(text)
    named = None if found is None else named_subject(found[1], vocabulary)
    if found is not None and named is not None:
        yield f"How {found[2]} {named} be {found[3]}?", found[4]


TASKS: tuple[Rule, ...] = (_default, _called, _how, _by_doing, _purpose, _found, _acts, _must, _state, _does_not, _may)
"""The best kinds first."""
