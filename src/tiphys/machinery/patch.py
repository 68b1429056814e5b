"""The three kinds of patch that the API takes, on plain dicts and lists."""

from tiphys.machinery.jsonpatch import json_patch
from tiphys.machinery.mergepatch import PatchError, merge
from tiphys.machinery.strategicpatch import strategic

__all__ = ["PatchError", "json_patch", "merge", "strategic"]
