"""One file a dialect: parse to our record, call, write the answer and its errors. None knows another."""
