"""Training sets packed into shards: writing, storing, streaming."""
