"""Benchmarks: reference data, and recognition of benchmark images by content.

A benchmark is one entry of `benchmarks.json`: its images' hashes and bicubic results. The command
`python scripts/maintenance/benchmark_tables.py <Name>=<folder>` writes it. Two further entries are optional:
`data/download/downloads.json` for downloading the images, and a column of `published.tsv` for published results.
"""
