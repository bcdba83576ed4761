"""`tandem COMMAND`: what is offered is there. What each does is tested where it is."""

import inspect
import re
import subprocess
import sys

from bridge.commands import COMMANDS, found


def test_each_command_that_help_lists_is_there() -> None:
    words = [sys.executable, "-m", "bridge.cli", "--help"]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    offered = {*re.findall(r"^    (\w+)", told, re.MULTILINE)} - {"mcp"}  # a client's start goes another way
    assert offered == COMMANDS.keys()
    for command in offered:
        function = found(command)
        assert inspect.iscoroutinefunction(function)
        assert [*inspect.signature(function).parameters] == ["arguments", "settings"]
