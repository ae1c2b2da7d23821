// Prints the size of the client, minified and compressed, and fails above the limit:
// `NODE_PATH=/usr/share/nodejs node size.mjs [--files]`.
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { gzipSync } from "node:zlib";

/** What it should have, in bytes, and what it must not exceed until then. */
const aim = 25_000, limit = 64_000;
const folder = new URL("../../Sources/RoomPage/Client/", import.meta.url);

let minify;
try {
    ({ minify } = createRequire(import.meta.url)("terser"));
} catch (error) {
    console.error(`SKIPPED: the size of the browser client was not checked: terser is missing (${error.code})`);
    process.exit(0);
}

const options = { module: true, ecma: 2020, compress: { passes: 2, module: true }, mangle: true };
let text = "";
const sizes = [];
for (const file of readdirSync(folder).filter((name) => name.endsWith(".js")).sort()) {
    const { code } = await minify(readFileSync(new URL(file, folder), "utf8"), options);
    text += `${code}\n`;
    sizes.push([gzipSync(code, { level: 9 }).length, file]);
}
const size = gzipSync(text, { level: 9 }).length;
if (process.argv.includes("--files")) {
    for (const [bytes, file] of sizes.sort(([left], [right]) => right - left)) console.log(`${bytes} ${file}`);
}
console.log(`browser client: ${sizes.length} modules, ${text.length} bytes minified, ${size} compressed`);
if (size > aim) console.error(`the browser client is over the ${aim} bytes that it should have`);
if (size > limit) {
    console.error(`the browser client is over its limit of ${limit} bytes`);
    process.exit(1);
}
