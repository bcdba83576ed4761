"""Files become chunks; chunks become findable."""
