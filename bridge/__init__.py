"""Questions become answers: over MCP, HTTP and the shell, from one daemon."""
