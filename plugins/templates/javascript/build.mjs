import { writeFile } from "node:fs/promises";

import { componentize } from "@bytecodealliance/componentize-js";

const { component } = await componentize({
  sourcePath: "plugin.js",
  witPath: "wit/rsnap-plugin",
  worldName: "WORLD",
  // Nothing of WASI is linked: a plugin has no files, no environment and no network.
  disableFeatures: ["stdio", "random", "clocks", "http", "fetch-event"],
});
await writeFile("core.wasm", component);
