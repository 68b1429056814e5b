"""The nouns: one module per group and version, and the catalogue of every built-in resource.
Imports nothing of ours."""
