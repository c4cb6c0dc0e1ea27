"""Batch upscaling of image files: inputs and outputs, target sizes, writing, and the summary of a run."""
