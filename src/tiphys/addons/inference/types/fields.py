"""What fields of several structs have in common: their limits, and defaults that a schema spells
although they are empty."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from tiphys.api.base import Int32

INT32_MAX = 2**31 - 1


def limits(low: int | None = None, high: int | None = None, default: int | None = None) -> Meta:
    """Of an integer of 32 bits."""
    extra: dict[str, Any] = {"format": "int32"}
    if default is not None:
        extra["default"] = default
    return Meta(ge=low, le=high, extra_json_schema=extra)


def spelled(default: Any) -> Meta:
    """An empty default that the schema names all the same."""
    return Meta(extra_json_schema={"default": default})


NotNegative = Annotated[int, Meta(ge=0, le=INT32_MAX)]
Zero = Annotated[float, spelled(0)]
No = Annotated[bool, spelled(False)]
Count = Int32

_NAME = "^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
ModelName = Annotated[str, Meta(max_length=63, pattern=_NAME)]
WholeName = Annotated[str, Meta(max_length=63, pattern=_NAME + "$")]
EndpointName = Annotated[str, Meta(max_length=63, pattern=f"^$|{_NAME}$")]
EndpointNameOrNone = Annotated[
    str, Meta(max_length=63, pattern=f"^$|{_NAME}$", extra_json_schema={"default": ""})
]
InstanceType = Annotated[str, Meta(pattern=r"^ml\..*")]
RoleArn = Annotated[
    str,
    Meta(
        min_length=20,
        max_length=2048,
        pattern=r"^arn:aws[a-z\-]*:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+$",
    ),
]
S3Uri = Annotated[
    str,
    Meta(
        pattern="^s3://([^/]+)/?(.*)$",
        description="Where a certificate that is made for the endpoint is written.",
    ),
]


def arn(kind: str) -> Meta:
    """The name of a SageMaker resource, or none."""
    return Meta(pattern=rf"(arn:aws[a-z\-]*:sagemaker:[a-z0-9\-]*:[0-9]{{12}}:{kind}/.*|^$)")
