"""Sharded training sets: index, writer, reader, and local cache of remote shards."""
