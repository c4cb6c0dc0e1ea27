"""A run's folder: creation, lock, saved config, what may change, how it continues."""
