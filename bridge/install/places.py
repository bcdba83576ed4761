"""Where each client keeps its servers, and under which name. Pure: nothing is looked at.

Claude Desktop   claude_desktop_config.json in the application's folder; within the package's own where Windows
                 has it as a package (since 2026 the usual way): the other one is never read there
Claude Code      ~/.claude.json (CLAUDE_CONFIG_DIR moves it);        of a project: .mcp.json
Cursor           ~/.cursor/mcp.json;                                 of a project: .cursor/mcp.json
VS Code          mcp.json in the user's profile, under "servers";    of a project: .vscode/mcp.json
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Literal

Name = Literal["claude-desktop", "claude-code", "cursor", "vscode"]

_PACKAGE = "Packages/Claude_pzs8sxrjxfjjc/LocalCache/Roaming"


@dataclass(frozen=True, slots=True)
class Client:
    title: str
    servers: str  # the object in its file that has them
    has_type: bool  # whether an entry says that it speaks over stdio
    next_step: str


CLIENTS: Mapping[Name, Client] = {
    "claude-desktop": Client("Claude Desktop", "mcpServers", False, "quit Claude Desktop and start it again"),
    "claude-code": Client("Claude Code", "mcpServers", True, "start a new session of Claude Code; /mcp there lists it"),
    "cursor": Client("Cursor", "mcpServers", True, "restart Cursor, and see that its settings have tandem switched on"),
    "vscode": Client("VS Code", "servers", True, "restart VS Code, or start tandem with `MCP: List Servers`"),
}


def user_files(name: Name, platform: str, environment: Mapping[str, str], home: str) -> list[PurePath]:
    """Best first: the one whose folder is there is meant, the last where none is. `platform` as sys.platform."""
    at = _path(platform, home)
    match name:
        case "claude-code":
            moved = environment.get("CLAUDE_CONFIG_DIR", "").strip()
            return [(_path(platform, moved) if moved else at) / ".claude.json"]
        case "cursor":
            return [at / ".cursor" / "mcp.json"]
        case "claude-desktop":
            folders = [_applications(platform, environment, at) / "Claude"]
            if platform == "win32":
                local = environment.get("LOCALAPPDATA") or at / "AppData" / "Local"
                folders.insert(0, PureWindowsPath(local) / _PACKAGE / "Claude")
            return [folder / "claude_desktop_config.json" for folder in folders]
        case "vscode":
            folder = _applications(platform, environment, at)
            others = [folder / product / "User" / "mcp.json" for product in ("Code - Insiders", "VSCodium")]
            usual = folder / "Code" / "User" / "mcp.json"
            return [usual, *others, usual]


def project_file(name: Name, folder: PurePath) -> PurePath | None:
    """For the folder's own servers; None where a client has no such thing."""
    match name:
        case "claude-code":
            return folder / ".mcp.json"
        case "cursor":
            return folder / ".cursor" / "mcp.json"
        case "vscode":
            return folder / ".vscode" / "mcp.json"
        case "claude-desktop":
            return None


def _applications(platform: str, environment: Mapping[str, str], home: PurePath) -> PurePath:
    if platform == "win32":
        return PureWindowsPath(environment.get("APPDATA") or home / "AppData" / "Roaming")
    if platform == "darwin":
        return home / "Library" / "Application Support"
    return PurePosixPath(environment.get("XDG_CONFIG_HOME") or home / ".config")


def _path(platform: str, place: str) -> PurePath:
    return PureWindowsPath(place) if platform == "win32" else PurePosixPath(place)
