"""Degradations from HR to LR: interpolation kernels, and random degradations as in real photographs."""
