"""Construction of objects from config sections: single components, the network, the parts of a training run."""
