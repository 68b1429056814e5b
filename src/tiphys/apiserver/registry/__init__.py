"""What is served, and how an object of any resource is created, changed, deleted and found.

Enters: a decoded object and who writes it. Leaves: a stored entry, or a Status that names what is
wrong.
"""
