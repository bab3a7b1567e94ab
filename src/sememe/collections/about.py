"""What a collection says of itself: its vector space, how its texts were cut, what it keeps."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

from sememe.collections.options import CollectionOptions
from sememe.errors import NewerVersion, SememeError

# The layout on disk. A newer one is refused; an older one is read, or converted where it is opened for writing.
FORMAT = 1


@dataclass(frozen=True)
class About:
    """Kept with the collection, and compared with whatever wants to read or write vectors.

    model, revision, fingerprint: of the embedder, as it named them; empty where the collection keeps words only.
    dimension: D of the stored dense vectors. chunking: name and settings of how documents are cut. analysis: how texts become
    words, `Analyzer.fingerprint`. created: UTC, ISO 8601.
    """

    options: CollectionOptions
    model: str
    revision: str
    fingerprint: str
    dimension: int
    chunking: str
    analysis: str
    created: str

    def to_json(self) -> str:
        """One line of JSON that `from_json` reads."""
        return json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, where: str) -> About:
        """Read it. Raises NewerVersion for a newer format, SememeError for what this version does not know."""
        try:
            found = json.loads(text)
            version = int(found.pop("format"))
            if version > FORMAT:
                raise NewerVersion(
                    f"{where} has format {version}, made by a newer sememe; this one reads up to {FORMAT}. "
                    "Upgrade sememe, or export the collection to Parquet with the newer one."
                )
            options = found.pop("options")
            options["outputs"] = tuple(options["outputs"])
            known = {field.name for field in fields(cls)}
            if unknown := set(found) - known:
                raise ValueError(f"unknown {sorted(unknown)}")
            return cls(options=CollectionOptions(**options), **found)
        except (ValueError, TypeError, KeyError, AttributeError) as exc:
            raise SememeError(
                f"{where} says of itself what this version cannot read: {exc}. Restore a snapshot."
            ) from exc
