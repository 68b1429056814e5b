"""Regular expressions that users write, in schemas and CEL: RE2, as upstream's are, in time that
grows with the text alone."""

from __future__ import annotations

from typing import Any

from tiphys.machinery.remembered import remembered


class RegexpError(ValueError):
    """The text is no regular expression; says why as Go's parser does."""


# What RE2 and Go's parser, which comes from it, call the same mistakes.
_NAMES = {
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid repetition size": "invalid repeat count",
}


@remembered(4096)
def compiled(pattern: str) -> Any:
    """A pattern with `search` and `finditer`. Raises RegexpError."""
    import re2  # only where somebody uses an expression: not every server does

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        text = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        what, colon, where = text.partition(": ")
        raise RegexpError(
            f"error parsing regexp: {_NAMES.get(what, what)}" + (f": `{where}`" if colon else "")
        ) from None
