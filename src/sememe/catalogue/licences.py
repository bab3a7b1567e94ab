"""Licences in words: what a team has to know before it builds on a model. The licence text decides, not these."""

from __future__ import annotations

from dataclasses import dataclass

from sememe.catalogue.schema import CatalogueEntry

_ATTRIBUTION = "keep the copyright and licence notice"
_RESEARCH = "name the authors; research and private use only"
_SHARE_ALIKE = "what you make from it carries the same licence"

# What each licence asks for, by the id that the catalogue uses. Source: the licence texts.
_TERMS: dict[str, str] = {
    "Apache-2.0": f"{_ATTRIBUTION}, state changes; grants patents",
    "MIT": _ATTRIBUTION,
    "CC-BY-4.0": "name the authors",
    "CC-BY-SA-4.0": f"name the authors; {_SHARE_ALIKE}",
    "CC-BY-NC-4.0": _RESEARCH,
    "CC-BY-NC-SA-4.0": f"{_RESEARCH}; {_SHARE_ALIKE}",
    "Gemma": "Google's Gemma terms: pass them on with the model, and obey its list of prohibited uses",
    "Qwen-Research": "Alibaba's Qwen Research License: research only; commercial use needs a licence of its own",
}


@dataclass(frozen=True)
class LicenceInWords:
    """verdict: one of `commercial use allowed`, `NON-COMMERCIAL`, `unknown`. text: a sentence with the terms."""

    verdict: str
    text: str


def licence_in_words(entry: CatalogueEntry) -> LicenceInWords:
    """What may be done with a checkpoint."""
    name = entry.license or "No licence known"
    notes = f" ({entry.license_notes})" if entry.license_notes else ""
    terms = f": {_TERMS[entry.license]}" if entry.license in _TERMS else ""
    from_memory = entry.license is not None and {"license", "commercial_use"} & set(entry.unverified)
    doubt = " From memory: check the model's page." if from_memory else ""
    match entry.commercial_use:
        case True:
            return LicenceInWords("commercial use allowed", f"{name}{notes}{terms}. Commercial use is allowed.{doubt}")
        case False:
            return LicenceInWords(
                "NON-COMMERCIAL", f"{name}{notes}{terms}. NON-COMMERCIAL: not for use in a business.{doubt}"
            )
        case None:
            return LicenceInWords(
                "unknown", f"{name}{notes}{terms}. Commercial use: unknown. Ask the authors first.{doubt}"
            )
