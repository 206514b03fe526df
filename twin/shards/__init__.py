"""Shards: named tables of one partition, with one dtype and one fold each."""
