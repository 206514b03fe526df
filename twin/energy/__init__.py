"""Power, money and carbon."""
