"""Image files enlarged to image files: which, to what size, written how, and what came of it."""
