"""Compares runs: groups that may be ranked, differences with their intervals, tables, plots and one HTML page."""
