"""Configuration files of components: a document in YAML or JSON of one known kind, read strictly.

What is wrong with it is said as upstream's decoders say it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeVar

from tiphys.api.base import Struct
from tiphys.machinery import decoding, fieldvalidation, yaml_reading
from tiphys.machinery.errors import FieldError

T = TypeVar("T", bound=Struct)


class ConfigFileError(ValueError):
    """A file that cannot be used; the text is for its author."""


def read(data: bytes, versions: Collection[str], kind: type[T]) -> tuple[T, list[str]]:
    """(object, unknown and double fields) of a document. `versions` are the values of
    `apiVersion` that it may have; its `kind` is the type's name. Raises ConfigFileError."""
    try:
        value, double = yaml_reading.read(data)
    except yaml_reading.YamlError as error:
        raise ConfigFileError(str(error)) from None
    if not isinstance(value, dict):
        raise ConfigFileError(f"couldn't get version/kind: a {kind.__name__} is needed")
    if not value.get("kind"):
        raise ConfigFileError(f"Object 'Kind' is missing: a {kind.__name__} is needed")
    if value["kind"] != kind.__name__ or value.get("apiVersion") not in versions:
        raise ConfigFileError(
            f'no kind "{value["kind"]}" is registered for version "{value.get("apiVersion")}": '
            f"a {kind.__name__} of {' or '.join(versions)} is needed"
        )
    try:
        content = decoding.convert(value, kind)
    except decoding.DecodeError as error:
        raise ConfigFileError(str(error)) from None
    return content, double + fieldvalidation.field_problems(b"", value, kind, None)


def read_strictly(data: bytes, versions: Collection[str], kind: type[T]) -> T:
    """As `read`; unknown and double fields are errors, too."""
    content, problems = read(data, versions, kind)
    if problems:
        raise ConfigFileError(f"strict decoding error: {', '.join(problems)}")
    return content


def check(violations: Iterable[FieldError]) -> None:
    """Raises ConfigFileError with all of them, as upstream's aggregate shows them."""
    texts = [str(violation) for violation in violations]
    if len(texts) == 1:
        raise ConfigFileError(texts[0])
    if texts:
        raise ConfigFileError(f"[{', '.join(texts)}]")
