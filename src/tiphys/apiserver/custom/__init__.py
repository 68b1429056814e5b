"""Custom resources: what a CustomResourceDefinition makes the server serve.

`resource.py` turns a definition into rows like those of the built-in table, `strategy.py` has what
  its objects obey,
`conversion.py` moves objects between versions, `openapi.py` publishes the schemas, and
  `controller.py` watches the
definitions: it accepts names, establishes, and removes the objects of a definition that is deleted.
  What a definition
itself obeys is in its slice, `resources/customresourcedefinitions/`.
"""
