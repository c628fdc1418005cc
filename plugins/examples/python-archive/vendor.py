"""A small archive to try the writer with. It speaks the API of a vendor that there is not, over HTTPS:

    PUT  /v1/volumes/V/snapshots/S/upload   {"size": N, "base": S0 or null} → {"upload": ID}; takes the place of an older one
    PUT  /v1/uploads/ID/data?offset=N       a piece, with the SHA-256 and the length of each of its parts
    POST /v1/uploads/ID/zeroes              {"ranges": [[offset, length], …]}
    POST /v1/uploads/ID/commit              from here on the snapshot is there, and it is this one

A snapshot is a file, V/S in its folder. What is not as it should be is refused, and nothing of it kept.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from urllib.parse import parse_qs, urlsplit

PIECE = 4 << 20
NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
LARGEST = 1 << 50


class Refused(Exception):
    def __init__(self, status: int, text: str):
        super().__init__(text)
        self.status = status


class Archive:
    """Uploads and snapshots."""

    def __init__(self, folder: Path):
        self.folder, self.lock, self.number = folder, Lock(), 0
        # By volume and snapshot: the one upload that counts.
        self.uploads: dict[tuple[str, str], str] = {}

    def begin(self, volume: str, snapshot: str, wanted: dict) -> dict:
        size, base = wanted.get("size"), wanted.get("base")
        if not isinstance(size, int) or not 0 < size <= LARGEST:
            raise Refused(400, "size: must be a number of bytes")
        self.number += 1
        upload = f"u{self.number}"
        (self.folder / volume).mkdir(parents=True, exist_ok=True)
        file = self.folder / upload
        if base is None:
            file.touch()
        else:
            there = self.folder / volume / base
            if not re.fullmatch(NAME, str(base)) or not there.is_file():
                raise Refused(404, f"the base {base} is not here")
            shutil.copyfile(there, file)
        os.truncate(file, size)
        before = self.uploads.get((volume, snapshot))
        if before is not None:
            (self.folder / before).unlink()
        self.uploads[volume, snapshot] = upload
        return {"upload": upload}

    def open(self, upload: str) -> tuple[tuple[str, str], Path]:
        place = next((place for place, known in self.uploads.items() if known == upload), None)
        if place is None:
            raise Refused(410, f"the upload {upload} is over")
        return place, self.folder / upload

    def data(self, upload: str, offset: int, body: bytes, parts: list[tuple[int, str]]) -> dict:
        _, file = self.open(upload)
        if offset < 0 or offset + len(body) > file.stat().st_size:
            raise Refused(416, "a piece beyond the end")
        start = 0
        for length, digest in parts:
            if hashlib.sha256(body[start : start + length]).hexdigest() != digest:
                raise Refused(422, f"other bytes at {offset + start} than were announced")
            start += length
        if start != len(body) or not 0 < start <= PIECE:
            raise Refused(422, "a piece of another length than was announced")
        with file.open("r+b") as opened:
            opened.seek(offset)
            opened.write(body)
        return {}

    def zeroes(self, upload: str, ranges: list) -> dict:
        _, file = self.open(upload)
        size = file.stat().st_size
        with file.open("r+b") as opened:
            for offset, length in ranges:
                if not 0 <= offset <= offset + length <= size:
                    raise Refused(416, "zeroes beyond the end")
                clear(opened, offset, length, size)
        return {}

    def commit(self, upload: str) -> dict:
        place, file = self.open(upload)
        file.replace(self.folder / place[0] / place[1])
        del self.uploads[place]
        return {}


def clear(file, offset: int, length: int, size: int) -> None:
    if offset + length == size:
        # The rest, which may be a terabyte.
        os.truncate(file.fileno(), offset)
        os.truncate(file.fileno(), size)
        return
    file.seek(offset)
    while length > 0:
        part = min(length, PIECE)
        file.write(bytes(part))
        length -= part


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    archive: Archive
    token: str

    def do_PUT(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def log_message(self, *_: object) -> None:
        pass

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            with self.archive.lock:
                status, said = 200, self.act(body)
        except Refused as refused:
            status, said = refused.status, {"error": str(refused)}
        text = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def act(self, body: bytes) -> dict:
        if self.headers.get("authorization") != f"Bearer {self.token}":
            raise Refused(401, "no token, or another one")
        url = urlsplit(self.path)
        if found := re.fullmatch(f"/v1/volumes/({NAME})/snapshots/({NAME})/upload", url.path):
            return self.archive.begin(found[1], found[2], json.loads(body))
        if found := re.fullmatch(f"/v1/uploads/({NAME})/data", url.path):
            lengths = map(int, self.headers.get("x-piece-lengths", "").split(","))
            parts = list(zip(lengths, self.headers.get("x-piece-sha256", "").split(",")))
            return self.archive.data(found[1], int(parse_qs(url.query)["offset"][0]), body, parts)
        if found := re.fullmatch(f"/v1/uploads/({NAME})/zeroes", url.path):
            return self.archive.zeroes(found[1], json.loads(body)["ranges"])
        if found := re.fullmatch(f"/v1/uploads/({NAME})/commit", url.path):
            return self.archive.commit(found[1])
        raise Refused(404, "there is nothing here")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    for file in ("certificate", "key", "token"):
        parser.add_argument(f"--{file}", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    Handler.archive, Handler.token = Archive(arguments.folder), arguments.token.read_text().strip()
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(arguments.certificate, arguments.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
