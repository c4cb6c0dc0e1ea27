"""Files of weights and training states: reading, matching to networks, integrity, third-party formats."""
