"""Word documents made part by part: each way in which text stands in one, alone and nested, and what is shown."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from itertools import permutations

_SCHEMA = "http://schemas.openxmlformats.org"
_NAMES = {
    "w": f"{_SCHEMA}/wordprocessingml/2006/main",
    "r": f"{_SCHEMA}/officeDocument/2006/relationships",
    "mc": f"{_SCHEMA}/markup-compatibility/2006",
    "wp": f"{_SCHEMA}/drawingml/2006/wordprocessingDrawing",
    "a": f"{_SCHEMA}/drawingml/2006/main",
    "wps": "http://schemas.microsoft.com/office/word/2010/wordprocessingShape",
    "v": "urn:schemas-microsoft-com:vml",
    "m": f"{_SCHEMA}/officeDocument/2006/math",
    "pic": f"{_SCHEMA}/drawingml/2006/picture",
    "o": "urn:schemas-microsoft-com:office:office",
}
_DECLARED = " ".join(f'xmlns:{short}="{name}"' for short, name in _NAMES.items())
_BY = 'w:id="7" w:author="A" w:date="2024-01-01T00:00:00Z"'
STYLES = """
<w:style w:type="paragraph" w:default="1" w:styleId="Normal"><w:name w:val="Normal"/></w:style>
<w:style w:type="paragraph" w:styleId="berschrift1"><w:name w:val="heading 1"/><w:pPr><w:outlineLvl w:val="0"/></w:pPr>
</w:style>
<w:style w:type="paragraph" w:styleId="House"><w:name w:val="House title"/><w:basedOn w:val="Deep"/></w:style>
<w:style w:type="paragraph" w:styleId="Deep"><w:name w:val="Deep"/>
<w:pPr><w:numPr><w:numId w:val="2"/></w:numPr><w:outlineLvl w:val="1"/></w:pPr></w:style>
<w:style w:type="character" w:styleId="Ghost"><w:name w:val="Ghost"/><w:rPr><w:vanish/></w:rPr></w:style>
<w:style w:type="character" w:styleId="Child"><w:name w:val="Child"/><w:basedOn w:val="Ghost"/></w:style>
<w:style w:type="paragraph" w:styleId="Veil"><w:name w:val="Veil"/><w:rPr><w:vanish/></w:rPr></w:style>
"""
_LEVEL = '<w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="{form}"/>{style}<w:lvlText w:val="{text}"/></w:lvl>'
_NUMBERING = (
    f'<w:abstractNum w:abstractNumId="1">{_LEVEL.format(form="decimal", text="%1.", style="")}</w:abstractNum>'
    f'<w:abstractNum w:abstractNumId="2">'
    f"{_LEVEL.format(form='upperRoman', text='Part %1', style='')}</w:abstractNum>"
    '<w:num w:numId="1"><w:abstractNumId w:val="1"/></w:num><w:num w:numId="2"><w:abstractNumId w:val="2"/></w:num>'
)
_NOTES = {
    "footnotes": "<w:footnote w:type='separator' w:id='0'><w:p/></w:footnote><w:footnote w:id='2'><w:p><w:r>"
    "<w:footnoteRef/></w:r><w:r><w:t>Measured in May.</w:t></w:r></w:p></w:footnote>",
    "endnotes": "<w:endnote w:id='2'><w:p><w:r><w:t>Of grade 46.</w:t></w:r></w:p></w:endnote>",
    "comments": "<w:comment w:id='0'><w:p><w:r><w:t>Who says so?</w:t></w:r></w:p></w:comment>",
}


def word(body: str, styles: str = STYLES) -> bytes:
    """Return a Word document of this body."""
    parts = {"styles": styles, "numbering": _NUMBERING, **_NOTES, "header1": f"<w:p>{run('RUNNING HEAD')}</w:p>"}
    roots = {"header1": "hdr"}
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        types = "".join(
            f'<Override PartName="/word/{name}.xml" ContentType="{kind}.{name.rstrip("1")}+xml"/>' for name in parts
        )
        archive.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{_SCHEMA}/package/2006/content-types"><Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/word/document.xml" ContentType="{kind}.document.main+xml"/>{types}</Types>',
        )
        relation = f"{_SCHEMA}/officeDocument/2006/relationships"
        archive.writestr("_rels/.rels", _related({"main": ("officeDocument", "word/document.xml")}, relation))
        named = {name: (name.rstrip("1"), f"{name}.xml") for name in parts}
        archive.writestr("word/_rels/document.xml.rels", _related({**named, "gone": ("image", "media/NULL")}, relation))
        section = '<w:sectPr><w:headerReference w:type="default" r:id="header1"/></w:sectPr>'
        archive.writestr("word/document.xml", f"<w:document {_DECLARED}><w:body>{body}{section}</w:body></w:document>")
        for name, inner in parts.items():
            root = roots.get(name, name)
            archive.writestr(f"word/{name}.xml", f"<w:{root} {_DECLARED}>{inner}</w:{root}>")
    return out.getvalue()


def _related(to: Mapping[str, tuple[str, str]], relation: str) -> str:
    listed = "".join(
        f'<Relationship Id="{id}" Type="{relation}/{kind}" Target="{target}"/>' for id, (kind, target) in to.items()
    )
    return f'<Relationships xmlns="{_SCHEMA}/package/2006/relationships">{listed}</Relationships>'


def run(text: str, properties: str = "") -> str:
    """Return a run of this text."""
    return f'<w:r>{properties and f"<w:rPr>{properties}</w:rPr>"}<w:t xml:space="preserve">{text}</w:t></w:r>'


def para(inner: str, properties: str = "") -> str:
    """Return a paragraph."""
    return f"<w:p>{properties and f'<w:pPr>{properties}</w:pPr>'}{inner}</w:p>"


def _mark(kind: str) -> str:
    return f'<w:r><w:fldChar w:fldCharType="{kind}"/></w:r>'


def field(code: str, result: str) -> str:
    """Return a complex field."""
    instruction = f'<w:r><w:instrText xml:space="preserve"> {code} </w:instrText></w:r>'
    return f"{_mark('begin')}{instruction}{_mark('separate')}{result}{_mark('end')}"


def control(inner: str) -> str:
    """Return a content control."""
    return f'<w:sdt><w:sdtPr><w:alias w:val="CONTROL"/></w:sdtPr><w:sdtContent>{inner}</w:sdtContent></w:sdt>'


def box(inner: str) -> str:
    """Return a run with a text box that holds blocks, in both ways in which Word writes it."""
    text = f"<w:txbxContent>{inner}</w:txbxContent>"
    return (
        '<w:r><mc:AlternateContent><mc:Choice Requires="wps"><w:drawing><wp:anchor distT="0" distB="0" distL="0"'
        ' distR="0" simplePos="0" relativeHeight="1" behindDoc="0" locked="0" layoutInCell="1" allowOverlap="1">'
        '<wp:simplePos x="0" y="0"/><wp:positionH relativeFrom="column"><wp:posOffset>0</wp:posOffset></wp:positionH>'
        '<wp:positionV relativeFrom="paragraph"><wp:posOffset>0</wp:posOffset></wp:positionV>'
        '<wp:extent cx="2000000" cy="900000"/><wp:wrapNone/><wp:docPr id="1" name="Box"/><a:graphic>'
        f'<a:graphicData uri="{_NAMES["wps"]}"><wps:wsp><wps:cNvSpPr txBox="1"/><wps:spPr><a:xfrm><a:off x="0" y="0"/>'
        '<a:ext cx="2000000" cy="900000"/></a:xfrm><a:prstGeom prst="rect"><a:avLst/></a:prstGeom></wps:spPr>'
        f"<wps:txbx>{text}</wps:txbx><wps:bodyPr/></wps:wsp></a:graphicData></a:graphic></wp:anchor></w:drawing>"
        f"</mc:Choice><mc:Fallback><w:pict><v:shape><v:textbox>{text}</v:textbox></v:shape></w:pict></mc:Fallback>"
        "</mc:AlternateContent></w:r>"
    )


def table(*rows: str) -> str:
    """Return a table of rows, each a string of cells."""
    grid = "<w:tblGrid><w:gridCol/><w:gridCol/></w:tblGrid>"
    lines = (row if "<w:tr>" in row.partition("<w:tc>")[0] else f"<w:tr>{row}</w:tr>" for row in rows)
    return f"<w:tbl><w:tblPr/>{grid}{''.join(lines)}</w:tbl>"


def cell(inner: str, properties: str = "") -> str:
    """Return a cell that holds blocks."""
    return f"<w:tc><w:tcPr>{properties}</w:tcPr>{inner}</w:tc>"


WRAPPERS: Mapping[str, Callable[[str], str]] = {
    "insertion": lambda inner: f"<w:ins {_BY}>{inner}</w:ins>",
    "moved here": lambda inner: f"<w:moveTo {_BY}>{inner}</w:moveTo>",
    "link": lambda inner: f'<w:hyperlink w:anchor="a">{inner}</w:hyperlink>',
    "control": control,
    "smart tag": lambda inner: f'<w:smartTag w:uri="u" w:element="place">{inner}</w:smartTag>',
    "custom XML": lambda inner: f'<w:customXml w:uri="u" w:element="e">{inner}</w:customXml>',
    "simple field": lambda inner: f'<w:fldSimple w:instr=" AUTHOR ">{inner}</w:fldSimple>',
    "field": lambda inner: field("FIELDCODE \\* MERGEFORMAT", inner),
}
"""Ways to wrap text of a paragraph that is shown."""
HIDERS = {
    "deletion": f"<w:del {_BY}><w:r><w:delText>GONE</w:delText></w:r></w:del>",
    "moved away": f"<w:moveFrom {_BY}>{run('GONE')}</w:moveFrom>",
    "hidden": run("GONE", "<w:vanish/>"),
    "hidden by style": run("GONE", '<w:rStyle w:val="Child"/>'),
    "comment": '<w:r><w:commentReference w:id="0"/></w:r>',
    "field without a result": f"{_mark('begin')}<w:r><w:instrText>XE GONE</w:instrText></w:r>{_mark('end')}",
}
"""What is not shown."""


def _sentence(inner: str) -> str:
    return para(run("The valve ") + inner + run("is closed before noon."))


_SHOWN = ["The valve of May is closed before noon."]
_INNER = run("of May ")
_BLOCK = para(run("The log has blue pages."))
_LOG = "The log has blue pages."
_NUMBER = '<w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr>'
_TWO = cell(para(run("two")))

CASES: dict[str, tuple[str, list[str]]] = {
    **{f"{name}": (_sentence(wrap(_INNER)), _SHOWN) for name, wrap in WRAPPERS.items()},
    **{
        f"{inner} in {outer}": (_sentence(WRAPPERS[outer](WRAPPERS[inner](_INNER))), _SHOWN)
        for outer, inner in permutations(("insertion", "link", "control", "field", "smart tag"), 2)
    },
    **{name: (_sentence(hidden), ["The valve is closed before noon."]) for name, hidden in HIDERS.items()},
    "deletion in an insertion": (
        _sentence(f"<w:ins {_BY}>{_INNER}<w:del {_BY}><w:r><w:delText>GONE</w:delText></w:r></w:del></w:ins>"),
        _SHOWN,
    ),
    "hidden in a control in a link": (
        _sentence(WRAPPERS["link"](control(_INNER + HIDERS["hidden"]))),
        _SHOWN,
    ),
    "shown in a hidden style": (
        _sentence(run("of May ", '<w:rStyle w:val="Ghost"/><w:vanish w:val="0"/>')),
        _SHOWN,
    ),
    "field in the code of a field": (
        _sentence(
            f"{_mark('begin')}<w:r><w:instrText>IF </w:instrText></w:r>{field('MERGEFIELD x', run('GONE'))}"
            f"<w:r><w:instrText> = 1</w:instrText></w:r>{_mark('separate')}{_INNER}{_mark('end')}"
        ),
        _SHOWN,
    ),
    "field in the result of a field": (_sentence(field("REF a", field("PAGE", _INNER))), _SHOWN),
    "field over two paragraphs": (
        para(
            run("One ")
            + _mark("begin")
            + "<w:r><w:instrText>QUOTE</w:instrText></w:r>"
            + _mark("separate")
            + run("lamp.")
        )
        + para(run("Two lamps.") + _mark("end")),
        ["One lamp.", "Two lamps."],
    ),
    "deleted end of a paragraph": (
        para(run("The valve of "), f"<w:rPr><w:del {_BY}/></w:rPr>") + para(run("May is closed before noon.")),
        _SHOWN,
    ),
    "text box": (para(run("Look here.") + box(_BLOCK)), ["Look here.", _LOG]),
    "control in a text box": (para(run("Look here.") + box(control(_BLOCK))), ["Look here.", _LOG]),
    "text box in an insertion": (
        para(run("Look here.") + WRAPPERS["insertion"](box(_BLOCK))),
        ["Look here.", _LOG],
    ),
    "control of paragraphs": (control(_BLOCK), [_LOG]),
    "control in a control of paragraphs": (
        control(control(_BLOCK) + para(run("And red ones."))),
        [_LOG, "And red ones."],
    ),
    "custom XML of paragraphs": (WRAPPERS["custom XML"](_BLOCK), [_LOG]),
    "table": (table(cell(para(run("one"))) + _TWO, cell(para(run("three"))) + _TWO), ["one | two", "three | two"]),
    "control of a cell": (table(control(cell(para(run("one")))) + _TWO), ["one | two"]),
    "control of a row": (table(control(f"<w:tr>{cell(para(run('one')))}{_TWO}</w:tr>")), ["one | two"]),
    "control in a cell": (table(cell(control(para(run("one")))) + _TWO), ["one | two"]),
    "control of text in a cell": (table(cell(para(control(run("one")))) + _TWO), ["one | two"]),
    "table in a cell": (
        table(cell(para(run("one")) + table(cell(para(run("a"))) + cell(para(run("b")))) + "<w:p/>") + _TWO),
        ["one a b | two"],
    ),
    "deleted row": (
        table(cell(para(run("one"))) + _TWO, f"<w:trPr><w:del {_BY}/></w:trPr>" + cell(para(run("GONE"))) + _TWO),
        ["one | two"],
    ),
    "merged cells": (
        table(
            cell(para(run("one")), '<w:vMerge w:val="restart"/>') + _TWO,
            cell("<w:p/>", "<w:vMerge/>") + cell(para(run("three"))),
            cell(para(run("wide")), '<w:gridSpan w:val="2"/>'),
        ),
        ["one | two", "| three", "wide"],
    ),
    "frame of one cell": (table(cell(_BLOCK + para(run("And red ones.")))), [_LOG, "And red ones."]),
    "footnote": (
        _sentence('<w:r><w:footnoteReference w:id="2"/></w:r>'),
        ["The valve is closed before noon.", "Measured in May."],
    ),
    "endnote in a control": (
        _sentence(control('<w:r><w:endnoteReference w:id="2"/></w:r>')),
        ["The valve is closed before noon.", "Of grade 46."],
    ),
    "footnote in a cell": (
        table(cell(para(run("one") + '<w:r><w:footnoteReference w:id="2"/></w:r>')) + _TWO),
        ["one | two", "Measured in May."],
    ),
    "marks in a run": (
        para(
            "<w:r><w:t>non</w:t><w:noBreakHyphen/><w:t>stop, soft</w:t><w:softHyphen/>"
            "<w:t>ware</w:t><w:tab/><w:t>on</w:t><w:br/><w:t>off</w:t></w:r>"
        ),
        ["non-stop, software\ton\noff"],
    ),
    "symbols": (
        para(
            run("Turn ") + '<w:r><w:sym w:font="Symbol" w:char="F061"/><w:sym w:font="Wingdings" w:char="F0E0"/></w:r>'
        ),
        ["Turn α→"],
    ),
    "formula": (
        para(
            run("Say ") + "<m:oMath><m:f><m:num><m:r><m:t>a+b</m:t></m:r></m:num><m:den><m:r><m:t>2</m:t></m:r></m:den>"
            "</m:f><m:r><m:t>=</m:t></m:r><m:sSup><m:e><m:r><m:t>x</m:t></m:r></m:e><m:sup><m:r><m:t>2</m:t></m:r>"
            "</m:sup></m:sSup></m:oMath>"
        ),
        ["Say (a+b)/2=x^2"],
    ),
    "numbers": (para(run("Open it."), _NUMBER) + para(run("Close it."), _NUMBER), ["1. Open it.", "2. Close it."]),
    "numbers around a deletion": (
        para(run("Open it."), _NUMBER)
        + f"<w:del {_BY}>{para(run('GONE'), _NUMBER)}</w:del>"
        + para(run("Close it."), _NUMBER),
        ["1. Open it.", "2. Close it."],
    ),
    "headings": (
        para(run("Rules"), '<w:pStyle w:val="berschrift1"/>') + para(run("Keys"), '<w:pStyle w:val="House"/>') + _BLOCK,
        ["Rules", "Part I Keys", _LOG],
    ),
    "contents": (
        para(field('TOC \\o "1-3"', run("Rules 3"))) + para(run("Rules"), '<w:pStyle w:val="berschrift1"/>') + _BLOCK,
        ["Rules", _LOG],
    ),
    "ruby": (
        para(
            "<w:r><w:ruby><w:rubyPr/><w:rt><w:r><w:t>kan</w:t></w:r></w:rt><w:rubyBase><w:r><w:t>漢</w:t></w:r>"
            "</w:rubyBase></w:ruby></w:r>" + run(" stays.")
        ),
        ["漢 stays."],
    ),
    "field that never ends": (
        _sentence(_mark("begin") + "<w:r><w:instrText>PAGE</w:instrText></w:r>" + _INNER),
        _SHOWN,
    ),
}
"""Body → lines that are shown."""
