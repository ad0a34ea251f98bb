"""Which replica a call goes to: health, placement, queues, failover."""
