"""`tandem`: the command. What it imports at the top is in memory for every `tandem mcp` too, so it is little."""

from __future__ import annotations

import argparse
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # its import would cost each `tandem mcp` 4 ms of its start
    from typing import Any, NoReturn

CLIENTS = ("claude-desktop", "claude-code", "cursor", "vscode")
ENGINES = ("vllm", "openai", "extractive", "echo", "onnx", "sentence-transformers")

_EXAMPLES = """examples:
  tandem up ~/notes ~/papers      watch the folders, index them, serve MCP and http://127.0.0.1:8000
  tandem search "backup policy" --in '*.md'
  tandem ask "How long are snapshots kept?"
  tandem status
"""
_MCP = "serve MCP on stdin and stdout; starts the daemon where none runs; reads no .env"


def main() -> NoReturn:
    """Exit status: 0 done, 1 failed with a message on stderr, 2 wrong usage, 130 stopped by Ctrl-C."""
    if sys.argv[1:2] == ["mcp"]:
        _serve_mcp(sys.argv[2:])
    parser = _parser()
    words, behind = _parted(sys.argv[1:])
    arguments = parser.parse_args(words)
    if arguments.command == "eval" and (wrong := _wrong_eval(arguments)):
        parser.error(wrong)
    if arguments.command == "service" and arguments.action == "install":
        arguments.words += behind
        arguments.runs = _as_its_command_reads_it(parser, arguments)
    _keep_private()
    from bridge import commands

    sys.exit(commands.run(arguments))


def _serve_mcp(words: list[str]) -> NoReturn:
    """Each client's start: the whole parser would take half as long again."""
    parser = argparse.ArgumentParser(prog="tandem mcp", description=_MCP[0].upper() + _MCP[1:] + ".")
    _shared(parser, json_=False)
    _mcp(parser)
    arguments = parser.parse_args(words)
    _keep_private()
    from bridge.relayed import relayed

    sys.exit(relayed(arguments.data, arguments.watch))


def _keep_private() -> None:
    """What is kept of the user's files is the user's alone."""
    os.umask(0o077)


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

    command("setup", "make or check the collections on the Qdrant server that the settings name (first use does too)")

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

    rate = command("rate", "note beside an answer's trace in Phoenix whether it was good")
    rate.add_argument("trace_id", metavar="TRACE_ID", help="as the end of `tandem ask --json` names it")
    rate.add_argument("rating", choices=("up", "down"))
    rate.add_argument("--comment", metavar="WORDS", help="why; replaced by the next rating of the same answer")

    command("status", "say what the index holds and what is wrong")

    command("doctor", "check each part and say what to do")

    _install(command("install", "write tandem into a client's configuration, with a backup beside it", json_=False))

    ls = command("ls", "list every document")
    ls.add_argument("glob", nargs="?", help="only paths that match, as in .gitignore, e.g. '*.md' or docs/")

    _mcp(command("mcp", _MCP, json_=False))

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
    worker.add_argument(
        "--alive",
        metavar="FILE",
        help="touch FILE every 5 s while the worker is at work, for a container's health check",
    )

    command("workers", "say how long the queue is, who takes jobs from it, and how fast")
    _queue(
        command("queue", "be the queue's server: Redis by TLS, with a user for each machine; files on first use", False)
    )
    _pair(command("pair", "let another machine to the queue by a one-time code, or come to it by one"))
    _dead(command("dead", "see the jobs that were given up; send one again, or drop it"))

    _service(command("service", "have the system start the queue, a worker or the daemon, and start it again"))
    _cache(command("cache", "see the answers that are kept to be given again; remove them"))
    _token(command("token", "give somebody a token of their own for the daemon's HTTP and MCP; take it back"))
    _trace(command("trace", "judge the traces in Phoenix, make a dataset of them, and ask its questions again"))

    _eval(
        command("eval", "index a judged collection, or your own files, into a cache folder of its own, search, score")
    )
    return parser


def _mcp(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--watch", action="append", default=[], metavar="DIR", help="a folder to add (may be repeated)")


def _install(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("client", choices=CLIENTS, metavar="CLIENT", help=", ".join(CLIENTS))
    parser.add_argument("--watch", action="append", default=[], metavar="DIR", help="a folder to add (may be repeated)")
    parser.add_argument(
        "--project", action="store_true", help="into the configuration of the folder you are in, not your own"
    )
    parser.add_argument("--print", action="store_true", help="show what would be written, and write nothing")
    parser.add_argument("--uninstall", action="store_true", help="take tandem out again; everything else stays")


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


def _queue(parser: argparse.ArgumentParser) -> None:
    _addresses(parser, "by which other machines reach this one (may be repeated; default: what it finds)")
    parser.add_argument("--port", type=_port, metavar="N", help="(default: 6379, or as it was)")
    parser.add_argument("--init", action="store_true", help="make the files, and start nothing")


def _pair(parser: argparse.ArgumentParser) -> None:
    does = parser.add_mutually_exclusive_group()
    does.add_argument("code", nargs="?", metavar="CODE", help="on the machine that is let in; - reads it from stdin")
    does.add_argument("--ls", action="store_true", help="list the machines that are paired")
    does.add_argument("--revoke", metavar="NAME", help="take one back, at once")
    does.add_argument(
        "--leave",
        nargs="?",
        const="all",
        choices=("bridge", "worker", "all"),
        metavar="ROLE",
        help="on a machine that was let in: forget its password, as bridge, worker or all (default: all)",
    )
    parser.add_argument("--name", metavar="NAME", help="with CODE: this machine's (default: its host's)")
    parser.add_argument("--role", choices=("bridge", "worker"), default="bridge", help="what it may (default: bridge)")
    parser.add_argument(
        "--wait", type=_positive, default=600, metavar="S", help="how long the code is good (default: 600)"
    )
    _addresses(parser, "in the code, instead of those that `tandem queue` was given (may be repeated)")
    parser.add_argument("--port", type=_port, metavar="N", help="in the code, where others reach it by another")


def _addresses(parser: argparse.ArgumentParser, help_: str) -> None:
    parser.add_argument("--address", action="append", default=[], metavar="HOST", help=help_)


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


def _service(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, help_: str, json_: bool = False) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + ".")
        _shared(made, json_, default=argparse.SUPPRESS)  # what was said before the action stands
        return made

    install = action("install", "write a unit of systemd, or a property list of launchd, and start it")
    install.add_argument("kind", choices=("queue", "worker", "daemon"), metavar="queue|worker|daemon")
    install.add_argument(
        "words", nargs="*", metavar="-- WORDS", help="those of `tandem queue`, `tandem worker` or `tandem up`"
    )
    install.add_argument("--name", metavar="NAME", help="of one among several (default: queue, worker or daemon)")
    install.add_argument(
        "--user", metavar="USER", help="as whom it runs, with --system (default: tandem; the daemon: who calls sudo)"
    )
    install.add_argument("--linger", action="store_true", help="run your own services while you are logged out, too")
    install.add_argument("--print", action="store_true", help="show what would be written, and write nothing")
    uninstall = action("uninstall", "stop one and remove its unit; its data stays")
    uninstall.add_argument("name", metavar="NAME")
    for made in (install, uninstall):
        made.add_argument("--system", action="store_true", help="of the machine, not your own; needs root")
    action("status", "list them, and say what is wrong", json_=True)


def _parted(words: list[str]) -> tuple[list[str], list[str]]:
    """What stands behind the -- of `tandem service` is another command's; argparse would mix them."""
    if words[:1] != ["service"] or "--" not in words:
        return words, []
    at = words.index("--")
    return words[:at], words[at + 1 :]


def _as_its_command_reads_it(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> argparse.Namespace:
    """Ends as that command would where its words are wrong: at its start nobody would be there to read why."""
    from bridge.services import COMMANDS

    runs = parser.parse_args([COMMANDS[arguments.kind], *arguments.words])
    if runs.data:
        parser.error("expected --data DIR before the --, for it is the service's folder too")
    return runs


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


def _token(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, help_ in (
        ("add", "make one and print it, this once"),
        ("ls", "list who has one, what they see and how long"),
        ("revoke", "take one back: a daemon under way knows at once"),
    ):
        action = actions.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + ".")
        _shared(action, default=argparse.SUPPRESS)  # what was said before the action stands
        if name != "ls":
            action.add_argument("name", metavar="NAME", help="whose it is")
        if name == "add":
            action.add_argument(
                "--in",
                dest="within",
                action="append",
                default=[],
                metavar="FOLDER_OR_GLOB",
                help="they see these documents only (may be repeated): a folder, or a pattern such as 'notes/**/*.md', "
                "from here on (default: all)",
            )
            action.add_argument("--rate", metavar="N/min", help="calls, or any (default: 300/min)")
            action.add_argument("--asks", metavar="N/min", help="questions to be answered, or any (default: 30/min)")
            action.add_argument("--expires", metavar="WHEN", help="90d, 12w, 1y or 2031-01-31 (default: when revoked)")
            action.add_argument(
                "--oauth",
                metavar="SUBJECT",
                help="no token: let in whom the authorization server of TANDEM_OAUTH_ISSUER knows by this `sub`",
            )


def _trace(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, help_: str, more: str = "") -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + "." + more)
        _shared(made, default=argparse.SUPPRESS)  # what was said before the action stands
        return made

    def times(parser: argparse.ArgumentParser, since: str) -> None:
        when = "2026-01-31, 2026-01-31T08:30 (UTC), or 12h, 7d, 2w ago"
        parser.add_argument("--since", default=since, metavar="WHEN", help=f"{when} (default: {since})")
        parser.add_argument("--until", metavar="WHEN", help="as --since (default: now)")

    again = " What was said before is replaced, so it may be run again and again."
    times(action("eval", "note beside the traces of a time how relevant, grounded and fresh they were", again), "7d")
    export = action(
        "export",
        "make a dataset of the questions that were asked, their answers and the evidence, or add to it",
        " A question is taken once, however often it was asked; what the dataset holds stays as it is.",
    )
    export.add_argument("name", type=_name, metavar="NAME", help="the dataset's in Phoenix")
    times(export, "30d")
    export.add_argument("--rated-down", action="store_true", help="only what a person rated down")
    experiment = action(
        "experiment",
        "ask a dataset's questions again, of the index and settings as they are now, and compare",
        " Exit status: 3 where a measure is worse than before, by a paired bootstrap 95 % interval over the questions;"
        " 0 where none is; 1 and 2 as for every command.",
    )
    experiment.add_argument("dataset", type=_name, metavar="DATASET", help="as `tandem trace export` named it")
    experiment.add_argument(
        "--name", type=_name, metavar="NAME", help="the experiment's (default: the dataset's and the time)"
    )
    experiment.add_argument(
        "--against", metavar="EXPERIMENT", help="compare with this one, by name or id (default: the latest before)"
    )
    experiment.add_argument(
        "-k", type=_positive, metavar="N", help="how many passages to look at (default: RAG_TOP_K, as `ask` does)"
    )
    experiment.add_argument("--ask", action="store_true", help="have the answers made again too, and compare them")


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


def _name(word: str) -> str:
    try:
        word.encode()
    except UnicodeEncodeError:  # as a shell's bytes that are no UTF-8 come
        raise argparse.ArgumentTypeError(f"expected a name in UTF-8, got {word!a}") from None
    if not word.strip():
        raise argparse.ArgumentTypeError("expected a name, got an empty one")
    return word


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
