"""Encryption at rest, in upstream's file and byte formats.

`configuration` reads an EncryptionConfiguration, `ciphers` seal one value, `transformers` choose
the cipher for a resource, and `sealed` puts that around an engine: what is above the engine sees
plain bytes, what is below it (SQLite's file, etcd) sealed ones. `reloading` follows the file.
"""
