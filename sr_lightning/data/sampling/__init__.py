"""Sampling of training data: crop of sample k, order of the batches, data loaders."""
