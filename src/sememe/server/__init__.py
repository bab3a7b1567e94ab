"""Models over HTTP: one scheduler, many dialects. Nothing here is imported unless `sememe serve` runs."""
