"""The three kinds of the inference operator, in both of their versions.

What v1 adds stands in `v1`; it extends the structs of v1alpha1, of which v1 has lost nothing.
"""
