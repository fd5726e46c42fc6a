"""Every port in memory, for tests; they pass the suites of the real ones."""
