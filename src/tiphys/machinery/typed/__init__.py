"""How plain objects are taken apart, compared and merged field by field, as server-side apply sees
them.

A `Node` says what one place of a type is: a leaf that is replaced as a whole, a map or struct of
further nodes, a set, or a list whose items have keys. Nodes come from the declared structs or from
a custom resource's schema.
"""

from tiphys.machinery.typed.comparison import Comparison, compare
from tiphys.machinery.typed.fields import everything, fields_in, with_named_parents
from tiphys.machinery.typed.items import MergeError, key_element
from tiphys.machinery.typed.merging import merge, without
from tiphys.machinery.typed.nodes import LEAF, Node, node_of, node_of_schema

__all__ = [
    "LEAF",
    "Comparison",
    "MergeError",
    "Node",
    "compare",
    "everything",
    "fields_in",
    "key_element",
    "merge",
    "node_of",
    "node_of_schema",
    "with_named_parents",
    "without",
]
