"""Which peers there are, where they are installed and how they are run."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchmarks import processes
from indexer.embed import weights
from indexer.pipeline import CHUNK_TOKENS, OVERLAP_TOKENS

MODEL = "all-MiniLM-L6-v2"
ENVIRONMENTS = Path("~/.cache/tandem-bench")
HERE = Path(__file__).parent
Size = Literal["ours", "its own"]


class Peer(NamedTuple):
    """`key` names its environment and its requirements. `ways`: how it is asked, and that in words."""

    name: str
    key: str
    script: str
    package: str
    unit: Literal["tokens", "characters"]  # by which it measures chunks
    sizes: Sequence[Size]
    ways: Mapping[str, str]

    def python(self, environments: Path) -> Path:
        return environments.expanduser() / f"peers-{self.key}" / "bin" / "python"


BOTH: Sequence[Size] = ("ours", "its own")
PEERS = (
    Peer(
        "LlamaIndex",
        "llamaindex",
        "llamaindex.py",
        "llama-index-embeddings-huggingface",
        "tokens",
        BOTH,
        {"vectors": "vectors", "fusion": "vectors + BM25"},
    ),
    Peer(
        "Haystack",
        "haystack",
        "haystack_ai.py",
        "sentence-transformers-haystack",
        "characters",
        BOTH,
        {"hybrid": "vectors + BM25"},
    ),
    Peer("txtai", "txtai", "txtai_hybrid.py", "txtai", "tokens", BOTH, {"hybrid": "hybrid"}),
    # Its own size is 256, without overlap, which is nearly ours.
    Peer("haiku.rag", "haiku", "haiku_rag.py", "haiku.rag-slim", "tokens", ("its own",), {"hybrid": "hybrid"}),
    # It has no chunker, hence no size of its own.
    Peer("Chroma", "chroma", "chroma_dense.py", "chromadb", "tokens", ("ours",), {"vectors": "vectors"}),
)


def missing(peer: Peer, environments: Path) -> str | None:
    """How to install it, where it is not."""
    python = peer.python(environments)
    question = f"import importlib.metadata; importlib.metadata.version({peer.package!r})"
    if python.exists() and not subprocess.run([python, "-c", question], capture_output=True).returncode:
        return None
    return f"not installed: sh benchmarks/peers/install.sh {peer.key}"


def chunk_size(peer: Peer, size: Size, chars_per_token: float) -> list[int]:
    """[size, overlap] in its unit; none for its own."""
    if size == "its own":
        return []
    unit = 1 if peer.unit == "tokens" else chars_per_token
    return [round(CHUNK_TOKENS * unit), round(OVERLAP_TOKENS * unit)]


def index(
    peer: Peer, python: Path, folder: Path, out: Path, threads: int, sized: Sequence[int], *extra: str
) -> tuple[dict[str, Any], processes.Ran]:
    """(what it says of itself, what it cost)."""
    options = ["--size", sized[0], "--overlap", sized[1]] if sized else []
    words = [*_words(peer, python, "index", folder, out, threads), *options, *extra]
    ran = processes.run(words, folder.parent, processes.environment(threads))
    return json.loads(ran.output.splitlines()[-1]), ran


def ask(
    peer: Peer, python: Path, folder: Path, out: Path, threads: int, way: str, questions: Path, results: Path
) -> processes.Ran:
    options = ["--way", way, "--questions", questions, "--results", results]
    words = [*_words(peer, python, "ask", folder, out, threads), *options]
    return processes.run(words, folder.parent, processes.environment(threads))


def _words(peer: Peer, python: Path, do: str, folder: Path, out: Path, threads: int) -> list[object]:
    return [python, HERE / peer.script, do, folder, weights.find(MODEL, None).folder, out, "--threads", threads]
