"""String and bytes literals of CEL: where one ends, and what it stands for.

The grammar is that of cel-go's lexer. An escape that it does not know ends the literal's being one;
in a raw literal (`r'\\d'`) a backslash is a character as any other.
"""

from __future__ import annotations

import re

_ESCAPE = (
    r"\\(?:(?P<char>[abfnrtv\"'\\?`])|[xX](?P<byte>[0-9a-fA-F]{2})|u(?P<short>[0-9a-fA-F]{4})"
    r"|U(?P<long>[0-9a-fA-F]{8})|(?P<octal>[0-3][0-7]{2}))"
)
_UNNAMED_ESCAPE = re.sub(r"\?P<\w+>", "?:", _ESCAPE)
_FORMS = (
    r"[rR]\"\"\"[\s\S]*?\"\"\"",
    r"[rR]'''[\s\S]*?'''",
    r"[rR]\"[^\"\n\r]*\"",
    r"[rR]'[^'\n\r]*'",
    rf"\"\"\"(?:{_UNNAMED_ESCAPE}|[^\\])*?\"\"\"",
    rf"'''(?:{_UNNAMED_ESCAPE}|[^\\])*?'''",
    rf"\"(?:{_UNNAMED_ESCAPE}|[^\\\"\n\r])*\"",
    rf"'(?:{_UNNAMED_ESCAPE}|[^\\'\n\r])*'",
)
LITERAL = f"[bB]?(?:{'|'.join(_FORMS)})"
"""A regular expression without named groups."""

_BEGUN = re.compile(rf"[bBrR]{{0,2}}(?P<quote>[\"'])(?:{_UNNAMED_ESCAPE}|(?!(?P=quote))[^\\\n\r])*")
_escape = re.compile(_ESCAPE)
_CHARACTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_MOST = 0x10FFFF


class LiteralError(ValueError):
    """The literal stands for nothing; cel-go's words."""


def partial_literal(text: str, position: int) -> str:
    """What the lexer has read of a literal when it finds it malformed, with the character that
    it stops at; "" where no literal starts."""
    match = _BEGUN.match(text, position)
    if match is None:
        return ""
    is_escape = text[match.end() : match.end() + 1] == "\\"
    return text[position : match.end() + (2 if is_escape else 1)]


def value_of(literal: str) -> str | bytes:
    """What a whole literal stands for. Raises LiteralError."""
    is_bytes = literal[0] in "bB"
    text = literal[1:] if is_bytes else literal
    is_raw = text[0] in "rR"
    text = text[1:] if is_raw else text
    quotes = 3 if len(text) >= 6 and text[:3] in ('"""', "'''") else 1
    body = text[quotes:-quotes].replace("\r\n", "\n").replace("\r", "\n")
    if is_bytes:
        return body.encode() if is_raw else _bytes(body)
    return body if is_raw else _escape.sub(_character, body)


def _character(match: re.Match[str]) -> str:
    if match["char"]:
        return _CHARACTERS.get(match["char"], match["char"])
    digits = match["byte"] or match["short"] or match["long"]
    code = int(digits, 16) if digits else int(match["octal"], 8)
    if code > _MOST or 0xD800 <= code <= 0xDFFF:
        raise LiteralError("invalid unicode code point")
    return chr(code)


def _bytes(body: str) -> bytes:
    """Escapes by number are bytes there, not characters."""
    parts: list[bytes] = []
    end = 0
    for match in _escape.finditer(body):
        parts.append(body[end : match.start()].encode())
        if match["short"] or match["long"]:
            raise LiteralError("unable to unescape string")
        if match["char"]:
            parts.append(_character(match).encode())
        else:
            code = int(match["byte"], 16) if match["byte"] else int(match["octal"], 8)
            parts.append(bytes((code,)))
        end = match.end()
    parts.append(body[end:].encode())
    return b"".join(parts)
