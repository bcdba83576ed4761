"""What OpenInference's own settings hide, in the words of TANDEM_TRACE_HIDE: never less than they ask for (pure).

Messages to a model hold the question and the passages, its words repeat both; only the search's own text is embedded.
"""

from collections.abc import Mapping

PREFIX = "OPENINFERENCE_HIDE_"
_EVERYTHING = ("all",)
_NOTHING: tuple[str, ...] = ()  # no trace of ours tells it
_GIVEN = ("questions", "passages")
_BY_NAME: Mapping[str, tuple[str, ...]] = {
    "INPUTS": _GIVEN,
    "INPUT_MESSAGES": _GIVEN,
    "INPUT_TEXT": _GIVEN,
    "PROMPTS": _GIVEN,
    "OUTPUTS": ("answers", "passages"),
    "OUTPUT_MESSAGES": ("answers",),
    "OUTPUT_TEXT": ("answers",),
    "CHOICES": ("answers",),
    "RETRIEVAL_DOCUMENTS": ("passages",),
    "EMBEDDINGS_TEXT": ("questions",),
    "EMBEDDINGS_VECTORS": _NOTHING,
    "EMBEDDING_VECTORS": _NOTHING,
    "INPUT_IMAGES": _NOTHING,
    "LLM_TOOLS": _NOTHING,
    "LLM_INVOCATION_PARAMETERS": ("parameters",),
}
KNOWN: Mapping[str, tuple[str, ...]] = {PREFIX + name: hidden for name, hidden in _BY_NAME.items()}


def hidden_by(name: str) -> tuple[str, ...]:
    """`name`: of a variable that begins with PREFIX. What one that is not known here asks for may be anything."""
    return KNOWN.get(name, _EVERYTHING)
