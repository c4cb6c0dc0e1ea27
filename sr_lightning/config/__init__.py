"""Schemas of the primary configs, and checks of types, values and secrets that need no torch."""
