"""Reading: files, folders, streams and Python's values become documents that know where they stand."""
