// Connects two `BrowserPeer`s in one page of a real browser:
// node Tests/BrowserClient/real-browsers.mjs [chromium] [firefox]
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFile, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const types = { ".html": "text/html", ".js": "text/javascript" };
const limit = 120;
const preferences = {
    "media.peerconnection.ice.loopback": true, "media.peerconnection.ice.obfuscate_host_addresses": false,
    "browser.shell.checkDefaultBrowser": false, "network.captive-portal-service.enabled": false,
    "network.connectivity-service.enabled": false, "datareporting.policy.dataSubmissionEnabled": false,
    "app.update.enabled": false,
};
const browsers = {
    chromium: (profile, url) => ["chromium", [
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-extensions",
        "--disable-features=WebRtcHideLocalIpsWithMdns", `--user-data-dir=${profile}`, url,
    ]],
    firefox: (profile, url) => {
        const lines = Object.entries(preferences).map(([name, value]) => `user_pref("${name}", ${value});\n`);
        writeFileSync(join(profile, "user.js"), lines.join(""));
        return ["firefox-esr", ["--headless", "--no-remote", "--profile", profile, url]];
    },
};

/** Opens the page in a browser, and returns its result. */
function run(name) {
    const profile = mkdtempSync(join(tmpdir(), `room-${name}-`));
    return new Promise((resolve) => {
        let browser;
        const server = createServer((request, response) => {
            if (request.method === "POST") {
                let body = "";
                request.on("data", (data) => (body += data)).on("end", () => {
                    response.end();
                    end(JSON.parse(body));
                });
                return;
            }
            const path = join(root, normalize(new URL(request.url, "http://a").pathname));
            readFile(path, (error, data) => {
                response.writeHead(error ? 404 : 200, { "content-type": types[extname(path)] ?? "text/plain" });
                response.end(data);
            });
        });
        const timer = setTimeout(() => end({ passed: false, error: `no result within ${limit} s` }), limit * 1000);
        const end = (result) => {
            clearTimeout(timer);
            server.close();
            server.closeAllConnections();
            try {
                process.kill(-browser.pid, "SIGKILL");
            } catch {
                // It has ended by itself.
            }
            resolve(result);
        };
        server.listen(0, "127.0.0.1", () => {
            const url = `http://127.0.0.1:${server.address().port}/Tests/BrowserClient/peers-page.html`;
            const [command, options] = browsers[name](profile, url);
            // A group of its own: the browser's other processes end with it.
            browser = spawn(command, options, {
                detached: true, stdio: "ignore",
                env: { ...process.env, HOME: profile, MOZ_DISABLE_CONTENT_SANDBOX: "1" },
            });
            browser.on("error", (error) => end({ passed: false, error: `${error}` }));
        });
    }).finally(() => rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 }));
}

const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(browsers);
for (const name of names) {
    const [command] = { chromium: ["chromium"], firefox: ["firefox-esr"] }[name];
    if (spawnSync(command, ["--version"]).error) {
        console.error(`SKIPPED: ${name}: there is no ${command} on this machine`);
        continue;
    }
    const result = await run(name);
    console.log(name, JSON.stringify(result, null, 1));
    if (!result.passed) process.exitCode = 1;
}
