"""The web page's files, as `bridge/web` builds them into `bridge/page`.

They hold nothing of anybody's, so `guard` lets them be read without the token. What the page shows is text out of
files that nobody vouches for: the policy below lets it run its own script, ask this server, and do nothing else.
"""

from functools import partial
from hashlib import sha256
from mimetypes import guess_type
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FOLDER = Path(__file__).parent / "page"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # Text cannot become markup even by a mistake of ours.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_NAMED_BY_CONTENT = "public, max-age=31536000, immutable"


def routes(folder: Path = FOLDER) -> list[Route]:
    """`/` and `/assets/*`, read once: 300 kB. None where the page was not built."""
    index = folder / "index.html"
    if not index.exists():
        return []
    assets = sorted(path for path in (folder / "assets").iterdir() if path.is_file())
    return [_route("/", index, "no-cache"), *(_route(f"/assets/{path.name}", path, _caching(path)) for path in assets)]


def _caching(path: Path) -> str:
    # Vite puts the content's hash before the last dot: index-Bd83kfLq.js
    return _NAMED_BY_CONTENT if "-" in path.stem else "no-cache"


def _route(url: str, path: Path, caching: str) -> Route:
    content = path.read_bytes()
    headers = {"Cache-Control": caching, "ETag": f'"{sha256(content).hexdigest()[:32]}"'}
    # By name and not by the system's table, which may call a script text/plain: nosniff would then stop it.
    media_type = {".js": "text/javascript", ".md": "text/plain"}.get(path.suffix) or guess_type(path.name)[0]
    return Route(url, partial(_file, content, media_type, _HEADERS | headers))


async def _file(content: bytes, media_type: str | None, headers: dict[str, str], request: Request) -> Response:
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)
