// The JavaScript of the articles: it can be parsed, and what it takes from the client is there.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

import * as messages from "../../Sources/RoomPage/Client/messages.js";
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

test("browsers are told of each module that its functions are called soon", () => {
    const folder = join(root, "Sources/RoomPage/Client");
    for (const name of readdirSync(folder)) {
        // It is a worker's, of its own.
        if (!name.endsWith(".js") || name === "clock.js") continue;
        assert.ok(readFileSync(join(folder, name), "utf8").startsWith("//# allFunctionsCalledOnLoad\n"), name);
    }
});

for (const [name, entry] of Object.entries({ room: client, messages })) {
    test(`${name}.d.ts declares what ${name}.js exports, and imports what it uses`, () => {
        const types = readFileSync(join(root, `Sources/RoomPage/Client/${name}.d.ts`), "utf8");
        const names = (list) => list.split(",").map((name) => name.trim());
        const declared = [
            ...[...types.matchAll(/^export (?:declare )?(?:const|class|function) (\w+)/gm)].map(([, name]) => name),
            ...[...types.matchAll(/^export \{([^}]*)\} from/gm)].flatMap(([, list]) => names(list)),
        ];
        for (const exported of Object.keys(entry)) {
            assert.ok(declared.includes(exported), `${name}.d.ts lacks ${exported}`);
        }
        for (const declaration of declared) assert.ok(declaration in entry, `${name}.js lacks ${declaration}`);
        for (const [, list] of types.matchAll(/^import \{([^}]*)\} from/gm)) {
            for (const imported of names(list)) {
                const uses = types.match(new RegExp(`\\b${imported}\\b`, "g"));
                assert.ok(uses.length > 1, `${name}.d.ts does not use ${imported}`);
            }
        }
        // Under `node16` and `nodenext` a file is imported by its whole name.
        for (const [, file] of types.matchAll(/ from "(\.[^"]*)"/g)) assert.match(file, /\.js$/);
    });
}
