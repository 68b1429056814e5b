"""Protobuf coding of declared types: the tags are in the declarations, so there is no generated
code.

Used for what speaks protobuf below us (CRI, etcd) and for clients of the API that prefer it.
Encoders and decoders are built once per type. A type that inlines another in JSON nests it on the
wire: such a field is written under the tag of the inlined message.

`wire` has what both directions share, `envelope` how an API object names its kind.
"""

from tiphys.machinery.protobuf.decoding import decode
from tiphys.machinery.protobuf.encoding import encode
from tiphys.machinery.protobuf.envelope import (
    ENVELOPE_TAIL,
    MEDIA_TYPE,
    envelope,
    envelope_head,
    unwrap,
    wrap,
)
from tiphys.machinery.protobuf.wire import WireError, frame, varint

__all__ = [
    "ENVELOPE_TAIL",
    "MEDIA_TYPE",
    "WireError",
    "decode",
    "encode",
    "envelope",
    "envelope_head",
    "frame",
    "unwrap",
    "varint",
    "wrap",
]
