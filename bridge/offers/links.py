"""Where what was found can be read, as links that a host may follow (pure)."""

from collections.abc import Iterable
from pathlib import PurePath

from mcp_types import ResourceLink

from bridge.citing import one_line
from bridge.service import Citation
from bridge.uris import passage_uri
from indexer.hits import Hit


def linked(passages: Iterable[Hit | Citation]) -> list[ResourceLink]:
    """One for each place."""
    by_uri = {passage_uri(one): one for one in passages}
    return [ResourceLink(uri=uri, name=one_line(PurePath(one.path).name)) for uri, one in by_uri.items()]
