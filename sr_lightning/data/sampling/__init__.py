"""Sampling of training data: the crop of sample k, the order of the batches, the loaders."""
