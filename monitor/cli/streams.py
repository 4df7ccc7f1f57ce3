"""``monitor streams``: the rooms of a running daemon, over its API."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from monitor.cli.daemon_api import DaemonApi
from monitor.cli.options import add_json_option
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

_PATH = "/api/v1/streams"
_PAGE = 1000


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "streams",
        help="list, add, remove or watch the rooms of a running daemon",
        description="Talks to a running daemon. Changes need its web.token in an environment variable.",
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    _verb(verbs, "list", "print the rooms and how each is doing")
    adding = _verb(verbs, "add", "watch one more room; adding the same again changes nothing")
    adding.add_argument("id", help="unique: letters, digits, dot, underscore, dash")
    adding.add_argument(
        "address", help="the stream's URL; - reads it from standard input, where no process list shows it"
    )
    for name in ("platform", "account", "room"):
        adding.add_argument(f"--{name}", required=True)
    adding.add_argument("--title")
    adding.add_argument("--product", action="append", dest="products", metavar="PRODUCT", help="may be repeated")
    adding.add_argument("--tag", action="append", dest="tags", metavar="TAG", help="may be repeated")
    adding.add_argument("--kind", choices=["live", "digital_human", "rebroadcast"])
    _verb(verbs, "remove", "watch a room no longer").add_argument("id")
    watching = _verb(verbs, "watch", "show the rooms until Ctrl-C; with --json one object a line")
    watching.add_argument("--every", type=float, default=1.0, metavar="SECONDS", help="default: 1")
    watching.add_argument("--count", type=int, default=0, metavar="N", help="end after N looks (default: never)")


def _verb(verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, line: str) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=line, description=line)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the daemon's address (default: %(default)s)")
    parser.add_argument(
        "--token-env",
        default="MONITOR_TOKEN",
        metavar="NAME",
        help="environment variable that holds web.token (default: %(default)s)",
    )
    add_json_option(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Do what the verb says."""
    api = DaemonApi(args.url, args.token_env)
    verbs = {"list": _list, "add": _add, "remove": _remove, "watch": _watch}
    return verbs[args.verb](api, args)


def _list(api: DaemonApi, args: argparse.Namespace) -> int:
    rows = _rows(api)
    if args.json:
        print(json.dumps({"streams": rows}, ensure_ascii=False))
    else:
        _print(rows)
    return 0


def _add(api: DaemonApi, args: argparse.Namespace) -> int:
    address = sys.stdin.readline().strip() if args.address == "-" else args.address
    if not address:
        raise ConfigError("standard input held no address")
    names = ("id", "platform", "account", "room", "title", "products", "tags", "kind")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    row = api.change("POST", _PATH, {**given, "url": address})
    print(json.dumps(row, ensure_ascii=False) if args.json else f"{row['id']}: watched")
    return 0


def _remove(api: DaemonApi, args: argparse.Namespace) -> int:
    api.change("DELETE", f"{_PATH}/{quote(args.id, safe='')}")
    print(json.dumps({"removed": args.id}) if args.json else f"{args.id}: removed")
    return 0


def _watch(api: DaemonApi, args: argparse.Namespace) -> int:
    looks = _looks(api, max(args.every, 0.1), args.count)
    if args.json:
        for rows in looks:
            print(json.dumps({"streams": rows}, ensure_ascii=False), flush=True)
        return 0
    from rich.live import Live

    with Live(_table([]), auto_refresh=False) as live:
        for rows in looks:
            live.update(_table(rows), refresh=True)
    return 0


def _looks(api: DaemonApi, every_s: float, count: int) -> Iterator[list[dict[str, Any]]]:
    done = 0
    while True:
        yield _rows(api)
        done += 1
        if done == count:
            return
        time.sleep(every_s)


def _rows(api: DaemonApi) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    path = f"{_PATH}?limit={_PAGE}"
    while path:
        answer = api.get(path)
        rows += answer["streams"]
        path = answer["next"]
    return rows


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console

    Console().print(_table(rows))


def _table(rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    live = sum(1 for row in rows if row["state"] == "live")
    table = Table(caption=f"{len(rows)} rooms, {live} live", caption_justify="left")
    for name in ("stream", "account", "room", "state", "pictures/s", "from"):
        table.add_column(name, overflow="fold", justify="right" if name == "pictures/s" else "left")
    for row in rows:
        state = row["state"] or "not started"
        colour = {"live": "green", "ended": "dim", "connecting": "", "not started": "dim"}.get(state, "red")
        said = _printable(f"{row['reason']} {row['detail']}").rstrip().replace("_", " ")
        reason = "" if state in ("live", "not started") else f"\n{said}"
        # What a room is called must be taken neither for markup nor for the terminal's own commands.
        table.add_row(
            Text(_printable(row["id"])),
            Text(_printable(f"{row['account']} on {row['platform']}")),
            Text(_printable(row["room"])),
            Text(state.replace("_", " "), style=colour) + Text(reason),
            Text(f"{row['sampled_per_s']:.2f}"),
            Text(row["hook"] or row["origin"]),
        )
    return table


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
