"""The embedded store: SQLite holds everything, and what makes searching fast is derived from it."""
