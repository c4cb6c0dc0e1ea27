"""Images as arrays and tensors: decoding, colour spaces, resizing."""
