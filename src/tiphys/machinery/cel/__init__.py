"""The Common Expression Language, as Kubernetes uses it: rules of custom resources, policies, match
conditions.

`parser.py` text → tree; `checker.py` tree → what is wrong with it before it runs; `compiler.py`
tree → a function; `operators.py` and `library.py` (with `texts.py`, `lists.py` and others) what it
calls; `frames.py` what runs share; `values.py` the types JSON lacks. `Program` puts them together.
Pure: nothing is looked up that is not given, and every evaluation has a cost limit (`actual.py`
what calls cost, `budget.py` what several expressions share). Source: the language's published
definition and the library list in Kubernetes' documentation.
"""

from __future__ import annotations

from tiphys.machinery.cel.budget import Budget, OutOfBudget
from tiphys.machinery.cel.compiler import Program, compile_expression
from tiphys.machinery.cel.values import CelError

__all__ = ["Budget", "CelError", "OutOfBudget", "Program", "compile_expression"]
