// The writer my-plugin: each volume is an image, each snapshot a snapshot of it; the host moves the data.

import { open } from "rsnap:plugin/image-store@0.1.2";
import { get } from "rsnap:plugin/settings@0.1.2";

let store = "main";

const noChunks = { tag: "other", val: "this plugin takes no chunks" };

export const writer = {
  // Reads the settings: the plugin's own table in the gateway's configuration.
  configure() {
    const { store: wanted = "main", ...unknown } = JSON.parse(get());
    for (const key of Object.keys(unknown)) throw `settings: unknown key ${key}`;
    if (typeof wanted !== "string") throw "store: must be the name of a store";
    store = wanted;
  },

  // The same answer each time, and another image for each volume.
  locate(volume) {
    return { store, image: `volume-${volume}` };
  },

  // Answer `{ tag: "chunks" }`, and fill in `write` and `finish`, to look at the data; it is much slower.
  begin(transfer) {
    const image = open(store, `volume-${transfer.volume}`, `snapshot-${transfer.snapshot}`);
    return { tag: "image", val: image };
  },

  write() {
    throw noChunks;
  },

  finish() {
    throw noChunks;
  },
};
