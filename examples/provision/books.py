"""A database of books, and a web server that lists them. As a script: fill, count, serve, visit."""

import json
import sqlite3
import sys
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

BOOKS = [("Emma", 1815), ("Middlemarch", 1871), ("Ulysses", 1922)]


def fill(path: str) -> None:
    """Make the database, in one transaction; may be repeated."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE IF NOT EXISTS books (title TEXT PRIMARY KEY, year INTEGER NOT NULL)")
        db.executemany("INSERT OR REPLACE INTO books VALUES (?, ?)", BOOKS)


def read(path: str) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return db.execute("SELECT title, year FROM books ORDER BY year").fetchall()


def make_server(path: str) -> ThreadingHTTPServer:
    """Return a server on a free port of this machine alone, which answers every request with the books."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(read(path)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def serve(path: str, port_file: str) -> None:
    with make_server(path) as server:
        new = Path(f"{port_file}.new")
        new.write_text(str(server.server_port))
        new.replace(port_file)  # at once, so that nobody reads half a number
        server.serve_forever()


def visit(url: str) -> list[tuple[str, int]]:
    with urlopen(url, timeout=10) as answer:
        return [(title, year) for title, year in json.load(answer)]


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "fill":
        fill(*arguments)
    elif command == "count":
        print(len(read(*arguments)), "books")
    elif command == "serve":
        serve(*arguments)
    elif command == "visit":
        found = visit(*arguments)
        print(f"titles={len(found)}")
        print(f"oldest={found[0][0]}")
    else:
        sys.exit(f"there is no command {command!r}")
