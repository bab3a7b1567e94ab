"""Stores of other systems behind the same protocol as the embedded one, each in an extra of its own."""
