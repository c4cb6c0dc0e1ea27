"""Images as arrays and tensors: decoding and encoding, colour spaces, resizing."""
