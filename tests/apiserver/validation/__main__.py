"""Writes docs/validation.md."""

from __future__ import annotations

from tests.apiserver.validation import document

print(document(), end="")
