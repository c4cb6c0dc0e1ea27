"""Export of trained networks for other programs: one module per format, each verified against the network."""
