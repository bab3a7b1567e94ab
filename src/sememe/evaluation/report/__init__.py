"""Pages that stand alone: one HTML file, charts inside, no script and nothing from elsewhere."""
