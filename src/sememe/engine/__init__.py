"""The straight line from inputs to embeddings. Read `engine.py` first."""
