"""What is started once for a data set or a benchmark and counts with numpy and scipy: a second of imports, 190 MB.

What draws is not among it: matplotlib writes into the home that it finds when it is imported.
"""

from functions.assemble_dataset import build
from functions.benchmark_model import suite
from functions.plan_corpus import plan

__all__ = ["build", "plan", "suite"]
