"""Tests of the server, and the fakes they share."""
