"""Where shards and cuts live: one protocol, in memory and in Redis."""
