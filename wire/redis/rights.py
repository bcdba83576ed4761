"""What a bridge's user must be allowed, tried on keys that nobody has. Nothing is changed by it.

Of each kind that compose/users.acl grants one: to add a job, to keep and remove its record, to count it, to speak.
"""

# redis-py leaves many of its answers untyped.
# pyright: reportUnknownMemberType=false

from redis.exceptions import NoPermissionError

from wire.redis.server import Server

_NOBODY = "doctor"


async def missing(server: Server, key: str) -> list[str]:
    """The commands that this user may not give, with their keys. Raises QueueDown."""
    refused: list[str] = []
    for words in (
        ("XADD", f"{key}:{_NOBODY}", "NOMKSTREAM", "*", "job", ""),
        ("XLEN", key),
        ("GET", f"{key}:job:{_NOBODY}"),
        ("DEL", f"{key}:job:{_NOBODY}"),
        ("ZREM", f"{key}:inflight:{_NOBODY}", _NOBODY),
        ("PUBLISH", f"result:{_NOBODY}", ""),
    ):
        try:
            await server.redis.execute_command(*words)
        except NoPermissionError:
            refused.append(f"{words[0]} {words[1]}")
        except Exception as error:
            raise server.down(error) from error
    return refused
