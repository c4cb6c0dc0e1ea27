"""Recognises the benchmark sets by their content, with the reference rows of each."""
