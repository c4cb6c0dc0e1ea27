"""Inspection of image folders: everything that is wrong with the data of a run."""
