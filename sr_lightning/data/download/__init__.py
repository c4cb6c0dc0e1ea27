"""Downloads of data sets: verified, resumable transfers and safe extraction of archives."""

from pathlib import Path

DOWNLOADS = Path(__file__).parent / "downloads.json"
"""Data sets available for download: origin, licence, URL, and the size and checksum of each file."""
