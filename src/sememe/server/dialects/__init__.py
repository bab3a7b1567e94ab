"""A dialect is the files named after it: parse to our record, call, write the answer or its error. None knows another."""
