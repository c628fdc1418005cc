// The policy my-plugin: sends the change since the newest snapshot that both sides hold with the same content.

import { get } from "rsnap:plugin/settings@0.1.2";

let incremental = true;

export const policy = {
  // Reads the settings: the plugin's own table in the gateway's configuration.
  configure() {
    const { incremental: wanted = true, ...unknown } = JSON.parse(get());
    for (const key of Object.keys(unknown)) throw `settings: unknown key ${key}`;
    if (typeof wanted !== "boolean") throw "incremental: must be true or false";
    incremental = wanted;
  },

  decide(request) {
    if (!incremental) return { decision: { tag: "full" }, reason: "the settings ask for full copies" };
    // Both chains are oldest first, and `source` may go on after the wanted snapshot.
    const there = new Map(request.target.map((snapshot) => [snapshot.root, snapshot.id]));
    let base;
    for (const snapshot of request.source) {
      if (snapshot.id === request.wanted.id) break;
      base = there.get(snapshot.root) ?? base;
    }
    if (base === undefined) return { decision: { tag: "full" }, reason: "no earlier snapshot is on the target" };
    return { decision: { tag: "incremental", val: base }, reason: `the target has ${base} with the same content` };
  },
};
