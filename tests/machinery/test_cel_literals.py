"""What literals stand for, and what is none, as cel-go's lexer and parser have it."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.machinery.cel.parser import parse
from tiphys.machinery.cel.values import CelError

VALUES: list[tuple[str, str | bytes]] = [
    (r"'a\tb\n\\\'\"\`\?'", "a\tb\n\\'\"`?"),
    (r"'\x41\X42\u00e9\U0001f600\101'", "ABé😀A"),
    (r"r'\d+'", r"\d+"),
    (r"R'\'", "\\"),
    ('r"""a"b\\"""', 'a"b\\'),
    ("'''it's\nhere'''", "it's\nhere"),
    ("'''a\r\nb\rc'''", "a\nb\nc"),
    ("''", ""),
    ('""""""', ""),
    (r"b'\xff\377é'", b"\xff\xff\xc3\xa9"),
    (r"br'\xff'", rb"\xff"),
    (r"B'\n'", b"\n"),
]

REFUSED: list[tuple[str, str]] = [
    (r"'\d'", r"Syntax error: token recognition error at: ''\d'"),
    (r"self.matches('^\d+$')", r"Syntax error: token recognition error at: ''^\d'"),
    (r"'\400'", r"Syntax error: token recognition error at: ''\4'"),
    (r"'\x4'", "Syntax error: token recognition error at"),
    ("'open", "Syntax error: token recognition error at: ''open'"),
    ("'two\nlines'", "Syntax error: token recognition error at: ''two\n'"),
    (r"'\ud800'", "invalid unicode code point"),
    (r"b'\u0041'", "unable to unescape string"),
    ("`a b:c`", "Syntax error: token recognition error at: '`'"),
    ("1\u00a0+ 1", "Syntax error: token recognition error at: '\u00a0'"),
]


def literal(text: str) -> Any:
    node = parse(text)
    assert node.kind == "literal"
    return node.value


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_a_literal_stands_for(text: str, value: str | bytes) -> None:
    assert literal(text) == value


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_what_is_no_literal_is_refused(text: str, message: str) -> None:
    with pytest.raises(CelError) as refused:
        parse(text)
    assert message in str(refused.value)
