"""The best candidates of a ranking are weighed anew by a model that reads query and text together.

RerankerAway        the order stays as it was, and that is said
RerankerUnusable    the same, until somebody acts
"""

from collections.abc import Awaitable, Callable, Sequence

Rerank = Callable[[str, Sequence[str]], Awaitable[Sequence[float]]]
"""(query, texts) -> a score a text, in their order; of any scale, higher is better."""


class RerankerAway(Exception):
    """No scores now; trying again later may work. The message says what was expected, what came, and what to do."""


class RerankerUnusable(RerankerAway):
    """No scores until somebody acts: no weights, another kind of model, a wrong key."""
