"""Downloads of data sets: verified, resumable transfers and safe extraction of archives."""

from pathlib import Path

DOWNLOADS = Path(__file__).parent / "downloads.json"
"""The data sets that can be downloaded: origin, licence, address, and size and checksum of each file."""
