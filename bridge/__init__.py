"""Questions become answers: over MCP, HTTP and the shell, from one daemon."""

# Here too, for `tandem mcp`: a look into the installed packages would cost each relay 15 ms.
VERSION = "0.1.0"
