"""Config sections to objects: single components, the network, the parts of a training run."""
