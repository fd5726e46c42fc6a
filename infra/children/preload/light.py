"""What is started for every file and every document: a quarter of a second of imports, 40 MB.

Nothing with threads of its own belongs here: `unpack` has half a gibibyte of addresses, and all of this is in it.
"""

from functions.chunk_text import cut
from functions.extract_zip import unpack
from functions.validate_file import check

__all__ = ["check", "cut", "unpack"]
