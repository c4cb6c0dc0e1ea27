"""Fetches the public data sets, with checksums and without trust in archives."""
