"""Load on a server of embeddings: who is asked what and when, what came back, and whether it was right."""
