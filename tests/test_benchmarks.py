"""Every benchmark can be started: what it takes from the rooms is still there."""

import sys
from pathlib import Path

import anyio

ROOT = Path(__file__).parent.parent
# vllm_path runs in the environment that has vLLM.
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (*ROOT.glob("benchmarks/*.py"), *ROOT.glob("benchmarks/faults/*.py"))
    if path.stem != "vllm_path"
)


async def test_each_is_imported() -> None:
    import_all = f"import importlib\nfor name in {MODULES}: importlib.import_module(name)"
    ended = await anyio.run_process([sys.executable, "-c", import_all], cwd=ROOT, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
