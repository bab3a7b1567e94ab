"""Words: texts to tokens in any language and script, and BM25 over them."""

from sememe.lexical.analysis import Analyzer, analyze
from sememe.lexical.bm25 import BM25, WordHits

__all__ = ["BM25", "Analyzer", "WordHits", "analyze"]
