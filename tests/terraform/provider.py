"""The provider's schema and nothing behind it, by Terraform's plugin protocol 6.

Enough for `terraform validate`, and for `terraform test` with mocks. Terraform is told where it listens by
TF_REATTACH_PROVIDERS and then fetches none. The messages are few and small, so they are written by hand:
https://github.com/hashicorp/terraform/blob/v1.11.4/docs/plugin-protocol/tfplugin6.8.proto
"""

import json
import os
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from tests.terraform.published import Argument, Block, Kind

SOURCE = "registry.terraform.io/digitalocean/digitalocean"
_LIST = 2  # of Schema.NestedBlock.NestingMode


@contextmanager
def listening(schemas: Mapping[tuple[Kind, str], Block], socket: Path) -> Generator[dict[str, str]]:
    """What the environment must say for Terraform to find it."""
    told = _schemas(schemas)
    empty = b""
    answers = {
        "GetProviderSchema": told,
        "ValidateProviderConfig": empty,
        "ValidateResourceConfig": empty,
        "ValidateDataResourceConfig": empty,
        "ConfigureProvider": empty,
        "StopProvider": empty,
    }
    methods = {name: grpc.unary_unary_rpc_method_handler(_always(answer)) for name, answer in answers.items()}
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_send_message_length", -1)])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("tfplugin6.Provider", methods)])
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    where = {
        "Protocol": "grpc",
        "ProtocolVersion": 6,
        "Pid": os.getpid(),
        "Test": True,
        "Addr": {"Network": "unix", "String": str(socket)},
    }
    try:
        yield {"TF_REATTACH_PROVIDERS": json.dumps({SOURCE: where})}
    finally:
        server.stop(None).wait()


def _always(answer: bytes) -> Any:
    return lambda _request, _context: answer


def _schemas(schemas: Mapping[tuple[Kind, str], Block]) -> bytes:
    provider = _schema(Block({"token": Argument("string")}))
    entries = [
        _part(3 if kind == "data" else 2, _part(1, name.encode()) + _part(2, _schema(block)))
        for (kind, name), block in schemas.items()
    ]
    return _part(1, provider) + b"".join(entries)


def _schema(block: Block) -> bytes:
    return _part(2, _block(block))


def _block(block: Block) -> bytes:
    attributes = [_part(2, _attribute(name, one)) for name, one in block.arguments.items()]
    nested = [
        _part(3, _part(1, name.encode()) + _part(2, _block(one)) + _number(3, _LIST) + _number(4, least) + most)
        for name, (one, least, is_several) in block.blocks.items()
        for most in [b"" if is_several else _number(5, 1)]
    ]
    return b"".join(attributes + nested)


def _attribute(name: str, one: Argument) -> bytes:
    # What may be given and is not is the provider's to say, so it may be read as well.
    flag = 4 if one.is_required else 5
    given = _number(flag, 1) if one.is_given else b""
    computed = b"" if one.is_required else _number(6, 1)
    return _part(1, name.encode()) + _part(2, json.dumps(one.type).encode()) + given + computed


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value) if value else b""


def _part(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
