"""Pure functions on objects: quantities, selectors, patches, decoding, protobuf, schemas, errors.

No I/O, no event loop, no clock. Imports only `tiphys.api`.
"""
