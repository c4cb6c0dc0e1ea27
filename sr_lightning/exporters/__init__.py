"""A trained network as a file for other programs: one module for each format, each with its proof."""
