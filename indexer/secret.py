"""Names become reasons: which files are taken for keys and passwords, and stay out of the index unless asked for."""

import os
import re
import stat

_KEY = "it holds a private key"
_STORE = "it is a store of keys or passwords"
_TOKENS = "it may hold passwords or tokens"

_FOLDERS = {
    ".ssh": "it holds SSH keys",
    ".gnupg": "it holds GnuPG keys",
    ".aws": _TOKENS,
    ".azure": _TOKENS,
    ".kube": _TOKENS,
    ".password-store": _STORE,
}
_NAMES = dict.fromkeys(
    (
        *(".netrc", "_netrc", ".npmrc", ".pypirc", ".git-credentials", ".pgpass", "pgpass.conf", ".my.cnf"),
        *(
            ".mylogin.cnf",
            ".htpasswd",
            "htpasswd",
            ".dockercfg",
            ".dockerconfigjson",
            ".boto",
            ".s3cfg",
            ".vault-token",
        ),
        *(".vault_pass", ".terraformrc", "rclone.conf", "kubeconfig", "credentials", "credentials.json"),
        *("credentials.toml", "application_default_credentials.json", "secrets.yaml", "secrets.yml", "secrets.json"),
        *("secrets.toml", "secrets.ini"),
    ),
    _TOKENS,
) | {"wallet.dat": _STORE}
_SUFFIXES = {
    **dict.fromkeys(("pem", "p8", "ppk", "agekey", "ovpn"), _KEY),
    **dict.fromkeys(("p12", "pfx", "pkcs12", "jks", "jceks", "bks", "keystore", "keytab"), _STORE),
    **dict.fromkeys(("kdbx", "kdb", "keychain", "keychain-db"), _STORE),
    **dict.fromkeys(("tfvars", "tfstate", "kubeconfig"), _TOKENS),
}
_PATTERNS = (
    (re.compile(r"id_(rsa|dsa|ecdsa|ed25519)(_sk)?([-_][\w-]*)?(\.(old|bak|key))?"), _KEY),
    (re.compile(r"(client[-_]secret|service[-_]?account|gha-creds-).*\.json"), _TOKENS),
    (re.compile(r"[^.]*\.tfstate\..*|[^.]*_accesskeys\.csv|\.[a-z]+_history"), _TOKENS),
    (re.compile(r"\.env.*|.*\.env"), "files like .env hold secrets"),
)
_TELLING = frozenset({"env", "csv", "json", "backup"})  # suffixes; ten thousand names a scan have others
_HARMLESS = frozenset({"example", "sample", "template", "dist", "tmpl"})
_PRIVATE = re.compile(rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY( BLOCK)?-----")


def secret(path: str, name: str, is_folder: bool) -> str | None:
    """Why a file or folder is left out as a secret, and how to take it in; None for an ordinary one. Looks into files
    whose suffix is that of a document as well: `.key` (Keynote) and `.asc` (AsciiDoc, signatures)."""
    low = name.lower()
    why = _FOLDERS.get(low) if is_folder else _NAMES.get(low) or _by_shape(path, low)
    return f"left out: {why}; a line !{name} in a .tandemignore takes it in" if why else None


def head(path: str, size: int) -> bytes | None:
    """A regular file's first bytes; None for all else, which is neither followed nor waited for."""
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return None
        with os.fdopen(file, "rb", closefd=False) as opened:
            return opened.read(size)
    except OSError:
        return None
    finally:
        os.close(file)


def _by_shape(path: str, low: str) -> str | None:
    suffix = low.rpartition(".")[2]
    if suffix == "key":
        # Keynote's presentations are zip files; all else of that name is a key or was meant to look like one.
        return None if (head(path, 4) or b"").startswith(b"PK") else _KEY
    if suffix == "asc":
        return _KEY if _PRIVATE.search(head(path, 4096) or b"") else None
    if suffix in _SUFFIXES and suffix != low and not (suffix == "tfvars" and _harmless(low)):
        return _SUFFIXES[suffix]
    telling = low.startswith((".", "id_")) or suffix in _TELLING or ".tfstate." in low
    if not telling or ("env" in low and _harmless(low)):
        return None
    return next((why for pattern, why in _PATTERNS if pattern.fullmatch(low)), None)


def _harmless(low: str) -> bool:
    return not _HARMLESS.isdisjoint(re.split(r"[._-]", low))
