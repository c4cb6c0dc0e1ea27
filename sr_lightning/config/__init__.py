"""Schemas and checks of the primary configs; none of them imports torch."""
