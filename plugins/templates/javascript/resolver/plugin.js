// The resolver my-plugin: addresses of sites by a naming scheme.

import { get } from "rsnap:plugin/settings@0.1.2";

let domain;
let sites;

export const resolver = {
  // Reads the settings: the plugin's own table in the gateway's configuration.
  configure() {
    const { domain: wantedDomain, sites: wantedSites, ...unknown } = JSON.parse(get());
    for (const key of Object.keys(unknown)) throw `settings: unknown key ${key}`;
    if (typeof wantedDomain !== "string" || !Array.isArray(wantedSites)) {
      throw 'settings: needs domain = "example.org" and sites = ["dc1"]';
    }
    domain = wantedDomain;
    sites = new Set(wantedSites);
  },

  resolve(name) {
    if (!sites.has(name)) return undefined;
    return {
      name,
      keystone: `https://keystone.${name}.${domain}/v3`,
      region: "RegionOne",
      gateway: `https://rsnap.${name}.${domain}:8443`,
    };
  },
};
