"""Documents to search in: reading them into passages, and finding the nearest."""
