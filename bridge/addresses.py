"""By what other machines call this one: a host's name or an IP address, without a port (pure)."""

import re
from ipaddress import ip_address

_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")


def is_address(word: str) -> bool:
    return is_ip(word) or (is_name(word) and not word.replace(".", "").isdigit())


def is_name(word: str) -> bool:
    return bool(_HOST.fullmatch(word))


def is_ip(word: str) -> bool:
    """None with a zone: it names a cable of this machine, and means nothing on another."""
    try:
        ip_address(word)
    except ValueError:
        return False
    return "%" not in word
