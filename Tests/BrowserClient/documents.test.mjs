// The JavaScript of the articles: it can be parsed, and what it takes from the client is there.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

import * as client from "../../Sources/RoomPage/Client/room.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

function* articles(folder) {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
        const path = join(folder, entry.name);
        if (entry.isDirectory()) yield* articles(path);
        else if (entry.name.endsWith(".md")) yield path;
    }
}

function* blocks() {
    for (const path of [join(root, "README.md"), ...articles(join(root, "Sources"))]) {
        for (const [, code] of readFileSync(path, "utf8").matchAll(/^```js\n([^]*?)^```/gm)) yield { path, code };
    }
}

test("the JavaScript of the articles can be parsed, and the client exports what it imports", () => {
    let count = 0;
    for (const { path, code } of blocks()) {
        const parsed = spawnSync(process.execPath, ["--input-type=module", "--check", "-"], { input: code });
        assert.equal(parsed.status, 0, `${path}: ${parsed.stderr}\n${code}`);
        for (const [, names] of code.matchAll(/import \{([^}]*)\} from "\/client\/room.js"/g)) {
            for (const name of names.split(",")) assert.ok(name.trim() in client, `${path}: there is no ${name.trim()}`);
        }
        count += 1;
    }
    assert.ok(count >= 4, "the code of the articles was not found");
});

test("room.d.ts declares what room.js exports", () => {
    const types = readFileSync(join(root, "Sources/RoomPage/Client/room.d.ts"), "utf8");
    for (const name of Object.keys(client)) {
        assert.match(types, new RegExp(`export declare (const|class|function) ${name}\\b`), `room.d.ts lacks ${name}`);
    }
    for (const [, name] of types.matchAll(/^export declare (?:const|class|function) (\w+)/gm)) {
        assert.ok(name in client, `room.js lacks ${name}`);
    }
});
