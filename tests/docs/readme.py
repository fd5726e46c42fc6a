"""The marked snippets of what a reader follows, as a reader copies them."""

import re

from infra.docs import PAGES, ROOT

TEXTS = {name: (ROOT / name).read_text() for name in PAGES}
README, REFERENCE = TEXTS["README.md"], TEXTS["infra/REFERENCE.md"]


def snippet(name: str) -> str:
    """Return the Python block behind the marker `run: name`, wherever it is."""
    (code,) = re.findall(rf"<!-- run: {name} -->\n```python\n(.*?)```", "".join(TEXTS.values()), re.DOTALL)
    return str(code)


def blocks(language: str) -> list[str]:
    """Return every block of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", "".join(TEXTS.values()), re.DOTALL | re.MULTILINE)


def section(title: str) -> str:
    """Return the section of the reference under this heading."""
    return REFERENCE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
