"""Tasks that ship, so that there is always something general to ask: a bundle of their own."""
