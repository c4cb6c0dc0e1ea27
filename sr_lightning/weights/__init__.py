"""Pretrained weights included in the package, by name."""
