"""The LightningModules, and what keeps Lightning's Trainer fast and its failures clear."""
