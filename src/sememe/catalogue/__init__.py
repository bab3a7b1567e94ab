"""What can be chosen: the entries of `catalogue.yaml`, their licences in words, and needs → shortlist with reasons."""

from __future__ import annotations

from sememe.catalogue.entries import Catalogue
from sememe.catalogue.schema import CatalogueEntry, EntryRecipe

# Small, quick, free, and carried by a wheel as well: the first command works where only a package index is reached.
DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"

__all__ = ["DEFAULT_MODEL", "Catalogue", "CatalogueEntry", "EntryRecipe"]
