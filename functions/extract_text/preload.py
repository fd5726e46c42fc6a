"""The libraries of the usual formats, imported: what a process does before it forks readers of documents."""

from functions.extract_text import decode, docx, epub, mail, odf, pdf, plain, pptx, rows, rtf, xlsx
from functions.extract_text.partition import import_all

__all__ = ["decode", "docx", "epub", "mail", "odf", "pdf", "plain", "pptx", "rows", "rtf", "xlsx"]

import_all()
