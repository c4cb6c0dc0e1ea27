"""From sections of a config to objects; `hydra.utils.instantiate` is called in `components` alone."""
