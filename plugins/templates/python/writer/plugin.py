"""The writer my-plugin: each volume is an image, each snapshot a snapshot of it; the host moves the data."""

import json
from typing import List

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.writer import Destination, Destination_Image, Extent, Location
from wit_world.imports import image_store, settings
from wit_world.imports.image_store import Image
from wit_world.imports.types import Error_Other, Transfer


class Writer(exports.Writer):
    # Each call gets an object of its own, so what is kept belongs to the class.
    store = "main"

    def configure(self) -> None:
        """Reads the settings: the plugin's own table in the gateway's configuration."""
        table = json.loads(settings.get())
        Writer.store = table.pop("store", "main")
        if table:
            raise Err(f"settings: unknown key {next(iter(table))}")
        if not isinstance(Writer.store, str):
            raise Err("store: must be the name of a store")

    def locate(self, volume: str) -> Location:
        """The same answer each time, and another image for each volume."""
        return Location(store=Writer.store, image=f"volume-{volume}")

    def begin(self, transfer: Transfer) -> Destination:
        """Answer `Destination_Chunks()`, and fill in `write` and `finish`, to look at the data; it is much slower."""
        place = self.locate(transfer.volume)
        return Destination_Image(image_store.open(place.store, place.image, f"snapshot-{transfer.snapshot}"))

    def write(self, extents: List[Extent]) -> None:
        raise Err(Error_Other("this plugin takes no chunks"))

    def finish(self) -> Image:
        raise Err(Error_Other("this plugin takes no chunks"))
