"""The table of clients is of the clients that `make clients` would run today."""

from __future__ import annotations

import re

from tests.clients.run import HERE, TABLE, clients, shown, table


def test_every_client_in_the_table_has_the_version_that_is_pinned() -> None:
    told = set(re.findall(r"^\| (\S[^|]*?) \|", TABLE.read_text(), re.M)) - {"Client", "---"}
    here = {each.name for each in clients()}
    assert {name for name in told if not name.endswith("(node)") and "-go " not in name} <= here


def test_a_reason_stays_within_its_cell_and_no_pin_names_a_registry() -> None:
    client = clients()[0]
    page = table({client: [{"what": "a | b", "why": "no\nway | out" * 99}, {"what": "c.", "why": None}]})
    bad, good = (line for line in page.splitlines() if line.startswith(f"| {client.name} "))
    assert bad.startswith(f"| {client.name} | a \\| b | no way \\| out")
    assert len(re.findall(r"(?<!\\)\|", bad)) == 4
    assert good == f"| {client.name} | c | yes |"
    assert len(shown("x" * 999)) == 240
    for pins in [*HERE.glob("*.txt"), HERE / "node" / "package-lock.json"]:
        assert "registry" not in pins.read_text()
        assert "index-url" not in pins.read_text()
