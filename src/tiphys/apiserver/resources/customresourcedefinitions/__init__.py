"""Custom resource definitions, and the rules of the schemas in them."""
