"""Duplicate images: fingerprints, search, leakage between sets, mismatched LR/HR pairs."""
