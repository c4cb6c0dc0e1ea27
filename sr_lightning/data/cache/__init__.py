"""Decoded images kept on disk as memory maps, shared by workers and runs, keyed by content."""
