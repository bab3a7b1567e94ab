"""Retrieval-augmented generation: contexts against labels, answers through a judge that the user names."""
