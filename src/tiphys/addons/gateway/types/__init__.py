"""The resources of Gateway API v1 as structs: fields, limits and rules are those of its standard channel."""
