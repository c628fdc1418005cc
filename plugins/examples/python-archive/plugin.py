"""The writer archive: each snapshot in an image of the gateway, and a copy in the archive of a vendor, over its REST API.

The vendor knows nothing of extents or chunks: it has volumes with snapshots, uploads that are written in pieces and then
committed, and a token. `vendor.py` beside this file speaks that API. A piece goes to the archive first and into the image
then, so what the gateway commits is in the archive; an upload that was not committed is nothing there, and the next one for
the same snapshot takes its place.
"""

import json
from typing import List, Optional, Tuple

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.writer import Destination, Destination_Chunks, Extent, Location
from wit_world.imports import http, http_chunks, image_store, settings
from wit_world.imports.chunks import Chunk
from wit_world.imports.http import Header, Method, Request, Response
from wit_world.imports.image_store import Image
from wit_world.imports.types import Error_Other, Error_Refused, Error_Unavailable, Transfer

# Bytes of one request: more than the vendor takes at once is refused.
PIECE = 4 << 20


def asked(method: Method, path: str, body: Optional[dict] = None) -> Request:
    """A request for the archive, with the token that the operator has granted as `archive`."""
    text = b"" if body is None else json.dumps(body).encode()
    headers = [] if body is None else [Header("content-type", "application/json")]
    return Request(method, f"{Writer.url}{path}", headers, "archive", text)


def succeeded(answer: Response) -> Response:
    if answer.status < 300:
        return answer
    text = f"the archive answers {answer.status}: {answer.body[:200].decode(errors='replace')}"
    raise Err(Error_Unavailable(text) if answer.status >= 500 else Error_Refused(text))


def runs(extents: List[Extent]) -> List[Tuple[int, List[Chunk]]]:
    """The data in pieces that are one after the other, so that one request carries many."""
    found: List[Tuple[int, List[Chunk]]] = []
    end, room = -1, 0
    for extent in extents:
        if extent.data is None:
            continue
        if extent.offset == end and extent.length <= room:
            found[-1][1].append(extent.data)
        else:
            found.append((extent.offset, [extent.data]))
            room = PIECE
        end, room = extent.offset + extent.length, room - extent.length
    return found


class Writer(exports.Writer):
    # Each call gets an object of its own, so what is kept belongs to the class.
    store = "main"
    url = ""
    upload = ""
    image: Optional[Image] = None

    def configure(self) -> None:
        """Reads the settings: the plugin's own table in the gateway's configuration."""
        table = json.loads(settings.get())
        Writer.store, Writer.url = table.pop("store", "main"), table.pop("url", None)
        if table:
            raise Err(f"settings: unknown key {next(iter(table))}")
        if not isinstance(Writer.store, str):
            raise Err("store: must be the name of a store")
        if not isinstance(Writer.url, str) or not Writer.url.startswith("https://"):
            raise Err("url: must be where the archive's API is, https://…")
        # What is not granted stops the start, and not a transfer.
        for method in (Method.PUT, Method.POST):
            try:
                http.check(asked(method, "/volumes"))
            except Err as refused:
                raise Err(f"url: {refused.value.value}") from None

    def locate(self, volume: str) -> Location:
        """The same answer each time, and another image for each volume."""
        return Location(store=Writer.store, image=f"volume-{volume}")

    def begin(self, transfer: Transfer) -> Destination:
        place, name = self.locate(transfer.volume), f"snapshot-{transfer.snapshot}"
        Writer.image = image_store.open(place.store, place.image, name)
        path = f"/volumes/{transfer.volume}/snapshots/{transfer.snapshot}/upload"
        wanted = {"size": transfer.size, "base": transfer.base}
        Writer.upload = json.loads(succeeded(http.send(asked(Method.PUT, path, wanted))).body)["upload"]
        return Destination_Chunks()

    def write(self, extents: List[Extent]) -> None:
        image = self.opened()
        for offset, chunks in runs(extents):
            piece = asked(Method.PUT, f"/uploads/{Writer.upload}/data?offset={offset}")
            # What the server gets is what the host has: it computes these, and the bytes never come here.
            piece.headers = [Header("x-piece-sha256", ",".join(chunk.sha256().hex() for chunk in chunks))]
            piece.headers.append(Header("x-piece-lengths", ",".join(str(chunk.length()) for chunk in chunks)))
            succeeded(http_chunks.send(piece, chunks))
        zeroes = [[extent.offset, extent.length] for extent in extents if extent.data is None]
        if zeroes:
            succeeded(http.send(asked(Method.POST, f"/uploads/{Writer.upload}/zeroes", {"ranges": zeroes})))
        for extent in extents:
            if extent.data is None:
                image.zero(extent.offset, extent.length)
                continue
            with extent.data as chunk:
                image.write(extent.offset, chunk)

    def finish(self) -> Image:
        image = self.opened()
        succeeded(http.send(asked(Method.POST, f"/uploads/{Writer.upload}/commit", {})))
        Writer.image = None
        return image

    def opened(self) -> Image:
        if Writer.image is None:
            raise Err(Error_Other("begin comes first"))
        return Writer.image
