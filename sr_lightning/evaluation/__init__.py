"""Evaluation of methods on test sets: prediction, scores, statistics, tables, files."""
