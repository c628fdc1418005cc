// The resolver patterns: finds sites by patterns of their names, so that a new site needs no change here.

import { get } from "rsnap:plugin/settings@0.1.2";

// Each with a regular expression and the addresses, in which {site} stands for the name.
let patterns = [];

const KEYS = ["name", "keystone", "region", "gateway"];

function read(pattern, number) {
  const where = `patterns[${number}]`;
  for (const key of KEYS) {
    if (typeof pattern[key] !== "string") throw `${where}: needs ${key} as text`;
  }
  for (const key of Object.keys(pattern)) {
    if (!KEYS.includes(key)) throw `${where}: unknown key ${key}`;
  }
  try {
    // The whole name must fit.
    return { ...pattern, expression: new RegExp(`^(?:${pattern.name})$`) };
  } catch (error) {
    throw `${where}.name: ${error.message}`;
  }
}

export const resolver = {
  // Reads the settings: the plugin's own table in the gateway's configuration.
  configure() {
    const { patterns: written, ...unknown } = JSON.parse(get());
    for (const key of Object.keys(unknown)) throw `settings: unknown key ${key}`;
    if (!Array.isArray(written) || written.length === 0) throw "settings: needs at least one [[patterns]]";
    patterns = written.map(read);
  },

  // The first pattern that fits decides.
  resolve(site) {
    const found = patterns.find(({ expression }) => expression.test(site));
    if (found === undefined) return undefined;
    const filled = (text) => text.replaceAll("{site}", site);
    return { name: site, keystone: filled(found.keystone), region: filled(found.region), gateway: filled(found.gateway) };
  },
};
