"""Benchmarks: reference data, and recognition of benchmark images by content.

A benchmark is one entry of `benchmarks.json`, which `scripts/benchmark_tables.py <Name>=<folder>` writes: its images'
hashes and bicubic's rows. Two further entries are optional: `data/download/downloads.json` for fetching it, and a
column of `published.tsv` for published rows.
"""
