"""The libraries of all formats, imported: what a process does before it forks readers of documents."""

from functions.extract_text import decode, docx, pdf, plain, rows
from functions.extract_text.partition import import_all

__all__ = ["decode", "docx", "pdf", "plain", "rows"]

import_all()
