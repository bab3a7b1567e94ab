"""What can be chosen: the entries of `catalogue.yaml`, their licences in words, and needs → shortlist with reasons."""

from __future__ import annotations

from sememe.catalogue.entries import Catalogue
from sememe.catalogue.schema import CatalogueEntry, EntryRecipe

__all__ = ["Catalogue", "CatalogueEntry", "EntryRecipe"]
