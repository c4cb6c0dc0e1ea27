"""Run folders: creation, lock, saved config, allowed changes, resume."""
