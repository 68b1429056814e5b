"""Admission: the plugins that every write passes, first mutating, then validating.

One file for each; `chain` is the ordered list. What a plugin is, and what it is shown, stands in
`registry.admission`, since the registry is who asks them.
"""

from tiphys.apiserver.registry.admission import Admission, Asking, Attributes, Base, Plugin

__all__ = ["Admission", "Asking", "Attributes", "Base", "Plugin"]
