"""Inspection of image folders: everything that is wrong with a run's data."""
