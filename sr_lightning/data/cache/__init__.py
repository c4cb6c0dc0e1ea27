"""Caches of decoded and downscaled images: memory maps on disk, shared by workers and runs, keyed by content."""
