"""The README's picture of a terminal, made from what the commands really print. Needs an index of examples/docs.

.venv/bin/tandem index examples/docs --data .tandem && .venv/bin/python docs/make_pictures.py .tandem
"""

import io
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
COMMANDS = (
    ["ask", "How long does the backup keep snapshots?"],
    ["search", "which error means the thermocouple is loose", "-k", "1", "--in", "*.pdf"],
    ["status"],
)


def main(data: str) -> None:
    console = Console(record=True, width=118, file=io.StringIO())
    for words in COMMANDS:
        shown = " ".join(f'"{word}"' if " " in word or "*" in word else word for word in words)
        console.print(Text(f"$ tandem {shown}", style="bold"))
        done = subprocess.run(
            [sys.executable, "-m", "bridge.cli", *words, "--data", data], capture_output=True, text=True, check=True
        )
        console.print(Text(done.stdout.rstrip().replace(str(HERE.parent), "…")))
        console.print(Text(done.stderr.rstrip() + "\n", style="dim"))
    # Without the fonts that rich would have the viewer fetch from elsewhere.
    picture = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="tandem"), flags=re.DOTALL)
    (HERE / "terminal.svg").write_text(picture)


if __name__ == "__main__":
    main(*sys.argv[1:])
