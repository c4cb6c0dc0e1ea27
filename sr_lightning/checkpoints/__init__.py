"""Weights and training states in files: reading, matching to networks, integrity, third-party formats."""
