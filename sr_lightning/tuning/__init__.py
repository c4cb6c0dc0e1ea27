"""A search for the best values of config keys: the study, its trials, what came of them."""
