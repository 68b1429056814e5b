"""Operators: custom resources declared as structs, and reconcilers that keep the world as they say.

Enters: a struct with `@custom_resource`, and a `Reconciler` for it. Leaves: the
CustomResourceDefinition, and objects that the reconciler applied. Works against any Kubernetes:
only the public API is used. `docs/operators.md` writes one in sixty lines. Imports the client and
the controllers' shell, nothing above.
"""

from tiphys.operator.declare import Column, Rule, Scale, custom_resource
from tiphys.operator.definition import definition
from tiphys.operator.reconcile import Reconciler
from tiphys.operator.run import Operator

__all__ = [
    "Column",
    "Operator",
    "Reconciler",
    "Rule",
    "Scale",
    "custom_resource",
    "definition",
]
