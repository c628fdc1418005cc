// Sends a file with tus-js-client, as its documentation shows it: modules, protocol, URL, ticket, file, chunk.
import { createReadStream } from "node:fs";
import { createRequire } from "node:module";

const [modules, protocol, endpoint, ticket, path, chunk] = process.argv.slice(2);
const tus = createRequire(`${modules}/`)("tus-js-client");
const upload = new tus.Upload(createReadStream(path), {
  protocol,
  endpoint,
  chunkSize: chunk === "0" ? Number.POSITIVE_INFINITY : Number(chunk),
  headers: { Authorization: `Bearer ${ticket}` },
  metadata: { filename: "volume.raw" },
  retryDelays: Array(200).fill(500),
  onError(error) {
    console.error(error);
    process.exitCode = 1;
  },
  onSuccess() {
    console.log("done");
  },
});
upload.start();
