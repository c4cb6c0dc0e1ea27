"""Which crop is sample k, and in which order samples are drawn and loaded."""
