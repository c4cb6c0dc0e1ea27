"""Caches of decoded and of downscaled images: memory maps on disk, shared by workers and runs, keyed by content."""
