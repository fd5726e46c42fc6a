"""What is read of PDFs beside poppler's `pdftotext` (which has to be on the PATH), a line for each file of a folder.

Both read whole pages, running heads and tables of contents too, so that nothing is forgiven; `learnt` then says which
share of the words is in elements, which is what is left without these.

`words`: F1 of the words of each page as multisets, 2·common ÷ both, over all pages. A word is a run of letters and
digits in NFKC; hyphens within words are left out on both sides, for pdftotext joins whatever ends in one.
`order`: of pdftotext's lines of three words and more that stand in ours as they are, exactly once on the page, the
share that is in the same order: the longest increasing run of their places, over all pages. `rows apart`: the same
without lines that stand in our tables, which pdftotext reads column by column and we row by row. `lines`: how many of
its lines of three words were found so.

`python -m tests.benchmarks.pdf_fidelity FOLDER [--worst N]` prints Markdown and ends with 1 where a mean is too low.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import time
import unicodedata
from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from contracts.corpus import plain_text
from functions.extract_text.core import UnreadableError
from functions.extract_text.pdf import read_pdf

WORDS, ORDER = 0.98, 0.95
"""What the mean over the files has to reach, and each file is marked below."""
_WORD = re.compile(r"[^\W_]+")
_HYPHEN = re.compile(r"(?<=\w)[-\u2010\u2011\u00ad]\n?(?=\w)")
_LINE_WORDS = 3


@dataclass
class Likeness:
    """Counts over the pages of a document."""

    pages: int = 0
    common: int = 0
    both: int = 0
    ours: int = 0
    learnt: int = 0
    lines: int = 0
    found: int = 0
    in_order: int = 0
    outside: int = 0
    """Lines that stand in no table of ours."""
    outside_in_order: int = 0
    seconds: float = 0.0
    worst: list[tuple[float, float, int]] = field(default_factory=list)
    """Words, order and number of each page."""

    @property
    def words(self) -> float:
        """F1 of the words."""
        return 2 * self.common / max(self.both, 1)

    @property
    def order(self) -> float:
        """Share of the lines that are in order."""
        return self.in_order / max(self.found, 1)

    @property
    def apart(self) -> float:
        """Share of the lines outside tables that are in order."""
        return self.outside_in_order / max(self.outside, 1)


def words(text: str) -> list[str]:
    """Return the words of a text."""
    return _WORD.findall(_HYPHEN.sub("", unicodedata.normalize("NFKC", text)))


def by_pdftotext(path: Path) -> list[str]:
    """Return the text of each page."""
    said = subprocess.run(["pdftotext", "-enc", "UTF-8", path, "-"], capture_output=True, check=True).stdout.decode()
    return said.split("\f")[:-1]


def places(text: str, ours: list[str]) -> tuple[int, list[int]]:
    """Return how many lines of three words `text` has, and where those that stand once in `ours` are there."""
    lines = [
        line
        for each in _HYPHEN.sub("", unicodedata.normalize("NFKC", text)).split("\n")
        if len(line := words(each)) >= _LINE_WORDS
    ]
    starts: dict[tuple[str, ...], list[int]] = {}
    for at in range(len(ours) - _LINE_WORDS + 1):
        starts.setdefault(tuple(ours[at : at + _LINE_WORDS]), []).append(at)
    found = []
    for line in lines:
        at = [each for each in starts.get(tuple(line[:_LINE_WORDS]), ()) if ours[each : each + len(line)] == line]
        if len(at) == 1:
            found.append(at[0])
    return len(lines), found


def longest_rise(numbers: list[int]) -> int:
    """Return the length of the longest increasing subsequence."""
    tails: list[int] = []
    for number in numbers:
        at = bisect_left(tails, number)
        tails[at : at + 1] = [number]
    return len(tails)


def compare(path: Path) -> Likeness:
    """Return how alike a document is read."""
    began = time.process_time()
    extracted = read_pdf(path, None)
    made = Likeness(seconds=time.process_time() - began)
    texts = {page.number: page.text for page in extracted.pages}
    tables: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for element in extracted.elements:
        page, start, end = element.span.page, element.span.start, element.span.end
        made.learnt += len(words(plain_text(texts[page][start:end])))
        if element.kind == "table":
            tables[page].append((len(words(texts[page][:start])), len(words(texts[page][:end]))))
    for number, theirs in enumerate(by_pdftotext(path), 1):
        mine, other = words(texts.get(number, "")), words(theirs)
        common = (Counter(mine) & Counter(other)).total()
        lines, found = places(theirs, mine)
        rise = longest_rise(found)
        outside = [at for at in found if not any(start <= at < end for start, end in tables[number])]
        made.outside, made.outside_in_order = made.outside + len(outside), made.outside_in_order + longest_rise(outside)
        made.pages += 1
        made.common, made.both, made.ours = (
            made.common + common,
            made.both + len(mine) + len(other),
            made.ours + len(mine),
        )
        made.lines, made.found, made.in_order = made.lines + lines, made.found + len(found), made.in_order + rise
        if mine or other:
            made.worst.append((2 * common / (len(mine) + len(other)), rise / len(found) if found else 1.0, number))
    return made


def main(folder: Path, worst: int) -> int:
    """Print a line for each file."""
    print(
        "| file | pages | words | order | rows apart | lines | learnt | ms a page |\n|---|---|---|---|---|---|---|---|"
    )
    found: list[Likeness] = []
    for path in sorted(folder.glob("*.pdf")):
        try:
            made = compare(path)
        except (UnreadableError, subprocess.CalledProcessError) as error:
            print(f"| {path.name} | {error} |")
            continue
        found.append(made)
        mark = "" if made.words >= WORDS and made.apart >= ORDER else " **"
        found_lines, learnt = made.found / max(made.lines, 1), made.learnt / max(made.ours, 1)
        print(
            f"| {path.name}{mark} | {made.pages} | {made.words:.4f} | {made.order:.4f} | {made.apart:.4f}"
            f" | {found_lines:.3f} | {learnt:.3f} | {1000 * made.seconds / max(made.pages, 1):.1f} |",
            flush=True,
        )
        if worst:
            low = [f"{page} ({one:.2f})" for one, _, page in sorted(made.worst)[:worst]]
            turned = [f"{page} ({two:.2f})" for _, two, page in sorted(made.worst, key=lambda each: each[1])[:worst]]
            print(f"|   | words: {', '.join(low)} | order: {', '.join(turned)} |")
    if not found:
        sys.exit(f"{folder} has no PDF that both can read")
    shares = zip(*((each.words, each.order, each.apart) for each in found), strict=True)
    mean_words, mean_order, mean_apart = map(statistics.fmean, shares)
    print(f"\n{len(found)} files: words {mean_words:.4f}, order {mean_order:.4f}, rows apart {mean_apart:.4f}")
    return 0 if mean_words >= WORDS and mean_order >= ORDER else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--worst", type=int, default=0, metavar="N", help="name the N worst pages of each file")
    asked = parser.parse_args()
    sys.exit(main(asked.folder, asked.worst))
