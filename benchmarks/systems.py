"""What is compared: for each system the lines that its user would write, run word for word by the workers."""

from __future__ import annotations

from dataclasses import dataclass

OURS = "sememe"
PEER = "sentence-transformers"


@dataclass(frozen=True)
class System:
    """key: names it in results. label: for tables. code: makes `model`. encode: arguments of `model.encode`.

    `{folder!r}` in the code is the model's folder. Whatever a system does not say here is at its default.
    """

    key: str
    label: str
    code: str
    encode: str = ""

    def script(self, folder: str) -> str:
        """The lines up to a loaded `model`."""
        return self.code.format(folder=folder)

    def first_vector_script(self, folder: str, text: str) -> str:
        """A whole program: load and embed one text."""
        return f"{self.script(folder)}\nmodel.encode([{text!r}]{self._arguments()})\n"

    def embed_expression(self) -> str:
        """Embeds `texts`."""
        return f"model.encode(texts{self._arguments()})"

    def _arguments(self) -> str:
        return f", {self.encode}" if self.encode else ""


def _ours(arguments: str) -> str:
    return "from sememe import Embedder\nmodel = Embedder({folder!r}" + arguments + ")"


def _peer(arguments: str) -> str:
    line = "model = SentenceTransformer({folder!r}" + arguments + ")"
    return "from sentence_transformers import SentenceTransformer\n" + line


def _peer_dtype(dtype: str) -> str:
    return ", model_kwargs={{'torch_dtype': '" + dtype + "'}}"


CPU_SYSTEMS = (
    System("ours", f"{OURS}", _ours("")),
    System("ours_float32", f"{OURS} float32", _ours(", precision='float32'")),
    System("ours_int8", f"{OURS} int8", _ours(", precision='int8'")),
    System("peer", f"{PEER}", _peer(", device='cpu'")),
    System("peer_bfloat16", f"{PEER} bf16", _peer(", device='cpu'" + _peer_dtype("bfloat16"))),
)

CUDA_SYSTEMS = (
    System("ours", f"{OURS}", _ours(", device='cuda'")),
    System("ours_float16", f"{OURS} fp16", _ours(", device='cuda', precision='float16'")),
    System("peer", f"{PEER}", _peer(", device='cuda'")),
    System("peer_float16", f"{PEER} fp16", _peer(", device='cuda'" + _peer_dtype("float16"))),
    System("peer_bfloat16", f"{PEER} bf16", _peer(", device='cuda'" + _peer_dtype("bfloat16"))),
    # Its default of 32 texts a batch starves a large GPU; this is what somebody who tunes it would set.
    System(
        "peer_float16_large",
        f"{PEER} fp16, batches of 512",
        _peer(", device='cuda'" + _peer_dtype("float16")),
        "batch_size=512",
    ),
)


def systems(device: str) -> tuple[System, ...]:
    """The systems of `cpu` or `cuda`."""
    return CUDA_SYSTEMS if device == "cuda" else CPU_SYSTEMS
