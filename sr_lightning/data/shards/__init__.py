"""Sharded training sets: index, writer, reader, and a local cache of remote shards."""
