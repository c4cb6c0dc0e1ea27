"""Comparison of runs: rankable groups, differences with confidence intervals, tables, plots and one HTML page."""
