"""Inference from LR image to SR image: forward pass, tiles, self-ensemble, cost."""
