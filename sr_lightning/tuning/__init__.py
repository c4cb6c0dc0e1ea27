"""Hyperparameter search over config keys: the study, its trials and their results."""
