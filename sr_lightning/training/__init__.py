"""LightningModules of training, plain and adversarial, and the final test."""
