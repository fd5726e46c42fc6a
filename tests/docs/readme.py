"""The README's marked snippets, as a reader copies them."""

import re

from infra.docs import ROOT

README = (ROOT / "README.md").read_text()


def snippet(name: str) -> str:
    """Return the Python block behind the marker `run: name`."""
    (code,) = re.findall(rf"<!-- run: {name} -->\n```python\n(.*?)```", README, re.DOTALL)
    return str(code)


def blocks(language: str) -> list[str]:
    """Return every block of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
