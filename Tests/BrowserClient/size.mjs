// Prints the size of the client's entries, minified and compressed, and fails above their limits:
// `NODE_PATH=/usr/share/nodejs node size.mjs [--files]`. Each module is minified alone, as a page loads them; `bundled`
// is what one file of them has, where esbuild is there to make it.
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

/** The size that an entry should have, in bytes, and the one that it must not exceed until then. */
const aim = 25_000, limits = { "messages.js": 51_200, "room.js": 62_800 };
const folder = new URL("../../Sources/RoomPage/Client/", import.meta.url);

let minify;
try {
    ({ minify } = createRequire(import.meta.url)("terser"));
} catch (error) {
    console.error(`SKIPPED: the size of the browser client was not checked: terser is missing (${error.code})`);
    process.exit(0);
}

const options = { module: true, ecma: 2020, compress: { passes: 2, module: true }, mangle: true };
const compressed = (text) => gzipSync(text, { level: 9 }).length;
const modules = new Map();
for (const file of readdirSync(folder).filter((name) => name.endsWith(".js"))) {
    const source = readFileSync(new URL(file, folder), "utf8");
    const imports = [...source.matchAll(/^(?:import|\}) .*from "\.\/([^"]+)";$|^import "\.\/([^"]+)";$/gm)];
    modules.set(file, { code: (await minify(source, options)).code, imports: imports.map(([, name]) => name) });
}

/** The modules of an entry, in the order in which they run. */
function closure(entry, found = new Set()) {
    if (found.has(entry)) return found;
    for (const name of modules.get(entry).imports) closure(name, found);
    return found.add(entry);
}

/** The compressed size of an entry with all its modules in one file; undefined: nothing here makes one. */
function bundled(entry) {
    const path = fileURLToPath(new URL(entry, folder));
    try {
        return compressed(execFileSync("esbuild", [path, "--bundle", "--minify", "--format=esm", "--target=esnext"]));
    } catch {
        return undefined;
    }
}

if (process.argv.includes("--files")) {
    const rows = [...modules].map(([name, { code }]) => [compressed(code), name]);
    for (const [bytes, name] of rows.sort(([left], [right]) => right - left)) console.log(`${bytes} ${name}`);
}
for (const [entry, limit] of Object.entries(limits)) {
    const names = [...closure(entry)];
    const text = names.map((name) => modules.get(name).code).join("\n");
    const size = compressed(text);
    console.log(`${entry}: ${names.length} modules, ${text.length} bytes minified, ${size} compressed; bundled: `
        + `${bundled(entry) ?? "not known without esbuild"}`);
    if (size > aim) console.error(`${entry} is over the ${aim} bytes that it should have`);
    if (size <= limit) continue;
    console.error(`${entry} is over its limit of ${limit} bytes`);
    process.exitCode = 1;
}
