"""LightningModules for plain and adversarial training, and the final test."""
