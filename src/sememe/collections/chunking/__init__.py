"""Chunking: a document becomes spans that fit the model's window, each an exact slice of the document's text."""
