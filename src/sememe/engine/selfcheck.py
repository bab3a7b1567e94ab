"""Every checkpoint is checked when it is loaded: the chosen precision against float32, on a fixed set of texts.

NaN and zero vectors never pass. A loss past the bound falls back to float32 with a warning.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from sememe.ops import Precision

# Short, long, empty, numbers, code, and many scripts: what breaks tokenizers, positions and low precision.
TEXTS: tuple[str, ...] = (
    "",
    "a",
    "What is the capital of France?",
    "Paris is the capital and most populous city of France.",
    "How do refunds work?",
    "The quick brown fox jumps over the lazy dog, again and again, until the lazy dog had enough of it. " * 12,
    'def add(a: int, b: int) -> int:\n    return a + b  # 3.14159e-10 <tag attr="x">',
    "ÜBER naïve café façade – Ærøskøbing Đặng Łódź",
    "Съешь ещё этих мягких французских булок",
    "快速的棕色狐狸跳过懒狗。機械学習は楽しい。한국어 문장입니다.",
    "مرحبا بالعالم שלום עולם नमस्ते दुनिया สวัสดีชาวโลก",
    "👩‍👩‍👧‍👦 🏳️‍🌈 ✈️ 100% — €5,000.00",
)

# Enough for every text above but the longest; the check should cost less than the rest of the loading.
MAX_TOKENS = 128

# Mean and smallest cosine to float32 below which the precision is not used. bfloat16 keeps 0.9999 on MiniLM;
# int8 weights with dynamic activations 0.9991 in the mean (both measured on the real model).
_BOUNDS: dict[Precision, tuple[float, float]] = {
    "float32": (0.9999, 0.9999),
    "bfloat16": (0.998, 0.98),
    "float16": (0.998, 0.98),
    "int8": (0.99, 0.95),
}


@dataclass(frozen=True)
class Verdict:
    """What the self-check found. mean_cosine, min_cosine: to float32, 1 where the precision is float32.

    reason: "" when it passed, else why not. compared: False where the model is too large for a float32 twin beside
    it, so that only NaN and zero vectors were looked for.
    """

    precision: Precision
    mean_cosine: float
    min_cosine: float
    passed: bool
    reason: str = ""
    compared: bool = True

    def as_dict(self) -> dict[str, object]:
        """The verdict as JSON values."""
        return asdict(self)


def judge(precision: Precision, vectors: NDArray[np.float32], exact: NDArray[np.float32] | None) -> Verdict:
    """Compare (N, D) vectors of `precision` with float32's; `exact` None looks for NaN and zero only."""
    if not np.isfinite(vectors).all():
        return Verdict(precision, float("nan"), float("nan"), passed=False, reason="NaN or infinity in the vectors")
    lengths = np.linalg.norm(vectors, axis=1)
    if (lengths == 0).any():
        return Verdict(precision, 0.0, 0.0, passed=False, reason="a zero vector")
    if exact is None:
        return Verdict(precision, 1.0, 1.0, passed=True, compared=False)
    if not (np.isfinite(exact).all() and exact.any(axis=1).all()):
        reason = "NaN, infinity or a zero vector in float32 itself"
        return Verdict(precision, float("nan"), float("nan"), passed=False, reason=reason)
    cosines = np.einsum("nd,nd->n", vectors, exact) / (lengths * np.linalg.norm(exact, axis=1))
    mean, smallest = float(cosines.mean()), float(cosines.min())
    mean_bound, min_bound = _BOUNDS[precision]
    passed = mean >= mean_bound and smallest >= min_bound
    loss = (
        f"cosine to float32 {mean:.4f} in the mean and {smallest:.4f} at worst; at least {mean_bound} and {min_bound}"
    )
    reason = "" if passed else loss
    return Verdict(precision, mean, smallest, passed=passed, reason=reason)
