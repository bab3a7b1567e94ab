"""Collections over HTTP: texts in, embedded by the server's own models through its scheduler."""
