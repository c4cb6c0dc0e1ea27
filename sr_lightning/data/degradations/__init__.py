"""HR to LR: interpolation kernels, and the random degradations of real photographs."""
