"""`tandem`: the command. What it imports at the top is in memory for every `tandem mcp` too, so it is little."""

import argparse
import os
import sys
from typing import Any, NoReturn

ENGINES = ("vllm", "openai", "extractive", "echo", "onnx", "sentence-transformers")

_EXAMPLES = """examples:
  tandem up ~/notes ~/papers      watch the folders, index them, serve MCP and http://127.0.0.1:8000
  tandem search "backup policy" --in '*.md'
  tandem ask "How long are snapshots kept?"
  tandem status
"""


def main() -> NoReturn:
    """Exit status: 0 done, 1 failed with a message on stderr, 2 wrong usage, 130 stopped by Ctrl-C."""
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.command == "eval" and (wrong := _wrong_eval(arguments)):
        parser.error(wrong)
    os.umask(0o077)  # what is kept of the user's files is the user's alone
    if arguments.command == "mcp":
        from bridge.relayed import relayed

        sys.exit(relayed(arguments.data, arguments.watch))
    from bridge import commands

    sys.exit(commands.run(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tandem",
        description="Your own files, searchable and answerable, with the evidence for every answer.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, help_: str, json_: bool = True) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + ".")
        _shared(made, json_)
        return made

    up = command("up", "add folders and run the daemon in the foreground: watch, index, serve", json_=False)
    up.add_argument("folders", nargs="*", metavar="DIR")
    up.add_argument("--port", type=_port, help="HTTP port on this machine (default: PORT, or 8000)")
    up.add_argument("--phoenix", action="store_true", help="run a private Phoenix too and trace every retrieval in it")

    command("down", "stop the daemon", json_=False)

    index = command("index", "add folders to the index, bring all of it in step once and exit")
    index.add_argument("folders", nargs="*", metavar="DIR")
    index.add_argument(
        "--accept-deletions",
        action="store_true",
        help="files that are missing are gone for good, also where they are so many that a disk may be away",
    )

    reindex = command("reindex", "read documents again, whatever their time stamps say")
    reindex.add_argument("path", nargs="?", metavar="PATH", help="a file or folder (default: all)")

    forget = command("forget", "take a folder or file out of the index until it is added again; no file is touched")
    forget.add_argument("path", metavar="PATH")

    command("pause", "stop indexing until `tandem resume`; search goes on", json_=False)
    command("resume", "go on indexing", json_=False)

    command("migrate", "move the index to the store and model that the settings name; what has its vector keeps it")

    backup = command("backup", "copy the index into one file, while it is in use too", json_=False)
    backup.add_argument("file", metavar="FILE")
    restore = command("restore", "make an index from a backup, in a data folder that holds none", json_=False)
    restore.add_argument("file", metavar="FILE")

    search = command("search", "print the passages that fit a query best")
    search.add_argument("query")
    search.add_argument("-k", type=_positive, default=10, metavar="N", help="how many (default: 10)")
    _filters(search)
    search.add_argument("--explain", action="store_true", help="show each hit's sub-scores and where the time went")

    ask = command("ask", "stream an answer drawn from the files, then its sources")
    ask.add_argument("question")
    _filters(ask)

    command("status", "say what the index holds and what is wrong")

    command("doctor", "check each part and say what to do")

    ls = command("ls", "list every document")
    ls.add_argument("glob", nargs="?", help="only paths that match, as in .gitignore, e.g. '*.md' or docs/")

    mcp = command("mcp", "serve MCP on stdin and stdout; starts the daemon where none runs", json_=False)
    mcp.add_argument("--watch", action="append", default=[], metavar="DIR", help="a folder to add (may be repeated)")

    worker = command("worker", "take jobs from Redis and answer them (the GPU box's process)", json_=False)
    worker.add_argument("--engine", choices=ENGINES, required=True)
    worker.add_argument(
        "--task",
        choices=("generate", "embed"),
        default="generate",
        help="embed: batches of texts from embedding_queue become vectors (default: generate)",
    )
    worker.add_argument(
        "--config",
        metavar="FILE",
        help="vllm only: the model and how it is run (default: config.yaml here, else what --print-config says)",
    )
    worker.add_argument(
        "--print-config", action=_PrintConfig, nargs=0, help="print a configuration for --engine vllm and exit"
    )
    worker.add_argument(
        "--slots", type=_positive, metavar="N", help="jobs at once (default: 8; vllm: as many as its max_num_seqs)"
    )
    worker.add_argument(
        "--tokens-per-second", type=float, default=0, metavar="R", help="echo only; 0 (default): no limit"
    )

    command("workers", "say how long the queue is, who takes jobs from it, and how fast")
    _dead(command("dead", "see the jobs that were given up; send one again, or drop it"))

    _cache(command("cache", "see the answers that are kept to be given again; remove them"))

    _eval(
        command("eval", "index a judged collection, or your own files, into a cache folder of its own, search, score")
    )
    return parser


def _eval(parser: argparse.ArgumentParser) -> None:
    judged = parser.add_argument_group("a judged collection")
    judged.add_argument("corpus", nargs="?", metavar="CORPUS", help="the folder with its files")
    judged.add_argument("--queries", metavar="FILE", help='JSON lines {"id", "text"}')
    judged.add_argument("--qrels", metavar="FILE", help="tab-separated query-id, path, grade; a heading")
    judged.add_argument("--run", metavar="FILE", help="write the ranked paths there")
    judged.add_argument("--passages", metavar="FILE", help="write the ranked passages there")
    judged.add_argument(
        "--against", metavar="RUN", help="compare with what an earlier --run wrote, question by question"
    )
    own = parser.add_argument_group("your own files, by questions made from them")
    own.add_argument("--own", metavar="DIR", help="the folder with your files")
    own.add_argument("--questions", type=_positive, default=200, metavar="N", help="at most (default: 200)")
    own.add_argument("--each", type=_positive, default=3, metavar="N", help="at most, of one file (default: 3)")
    own.add_argument("--seed", type=int, default=0, metavar="N", help="another one takes files in another order")
    own.add_argument("--out", metavar="DIR", help="keep the questions there, as queries.jsonl and qrels.tsv")


def _wrong_eval(arguments: argparse.Namespace) -> str | None:
    judged = (arguments.corpus, arguments.queries, arguments.qrels)
    if arguments.own and not any((*judged, arguments.run, arguments.passages, arguments.against)):
        return None
    if not arguments.own and all(judged) and not arguments.out:
        return None
    return (
        "expected `tandem eval CORPUS --queries FILE --qrels FILE [--run FILE] [--passages FILE] [--against RUN]`, "
        "or `tandem eval --own DIR [--questions N] [--each N] [--seed N] [--out DIR]`"
    )


def _shared(parser: argparse.ArgumentParser, json_: bool = True, **default: Any) -> None:
    parser.add_argument(
        "--data", metavar="DIR", help="the index's folder (default: TANDEM_DATA, or your user-data folder)", **default
    )
    if json_:
        parser.add_argument("--json", action="store_true", help="JSON on stdout and nothing else", **default)


def _dead(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, help_ in (
        ("ls", "list them, the latest first; the last 10 000 are kept"),
        ("show", "print one: why it was given up, its question and its passages"),
        ("retry", "send one again, with a clean record; its answer is kept for ten minutes after its end"),
        ("drop", "remove one for good"),
    ):
        action = actions.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + ".")
        _shared(action, default=argparse.SUPPRESS)  # what was said before the action stands
        if name == "ls":
            action.add_argument("-n", type=_positive, default=50, metavar="N", help="how many (default: 50)")
        else:
            action.add_argument("id", metavar="ID", help="its ID in `tandem dead ls`, or its request's")


def _cache(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, help_ in (
        ("ls", "list them, the last used first, with the files they rest on"),
        ("clear", "remove all of them"),
        ("stats", "say how many there are and how often they were given again"),
    ):
        _shared(
            actions.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + "."),
            default=argparse.SUPPRESS,  # what was said before the action stands
        )


def _filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--in",
        dest="within",
        metavar="GLOB",
        help="only files that match, as in .gitignore: '*.md', docs/, /home/me/notes",
    )
    parser.add_argument(
        "--type",
        metavar="TYPES",
        help="only files of these types: pdf,code; kinds (text, markdown, code, html, pdf, word, slides, table, json, "
        "notebook, book, mail, other) and suffixes (md, docx)",
    )
    parser.add_argument(
        "--since",
        metavar="WHEN",
        help="only files modified since: 2026-01-31, 2026-01-31T08:30 (UTC), or 12h, 7d, 2w, 1y ago",
    )


def _port(word: str) -> int:
    if not 0 <= (port := int(word)) < 65536:
        raise argparse.ArgumentTypeError(f"expected 0 to 65535, got {port}")
    return port


def _positive(word: str) -> int:
    if (number := int(word)) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {number}")
    return number


class _Version(argparse.Action):
    """Looked up only when asked for: the look into the installed packages costs milliseconds."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"tandem {version('tandem-rag')}")  # noqa: T201
        parser.exit()


class _PrintConfig(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from inference_server.config import EXAMPLE

        sys.stdout.write(EXAMPLE.read_text("utf-8"))
        parser.exit()


if __name__ == "__main__":
    main()
