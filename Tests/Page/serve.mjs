// node Tests/Page/serve.mjs [PORT]: serves the page with a stand-in for the client, for work on its looks. Nothing is
// cached, so a reload shows a change.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

const page = new URL("../../Sources/RoomPage/", import.meta.url);
const types = { html: "text/html", js: "text/javascript", css: "text/css", svg: "image/svg+xml" };
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    + "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const server = createServer(async (request, response) => {
    const path = new URL(request.url, "http://x").pathname.slice(1);
    const file = path === "client/room.js" ? new URL("fake-room.js", import.meta.url)
        : path.startsWith("page/") ? new URL("Page/" + path.slice(5), page)
        : path.includes("/") || path.includes(".") ? undefined : new URL("Page/index.html", page);
    try {
        const body = await readFile(file);
        response.writeHead(200, {
            "Content-Type": `${types[file.pathname.split(".").pop()]}; charset=utf-8`, "Cache-Control": "no-store",
            "Content-Security-Policy": policy,
        });
        response.end(body);
    } catch {
        response.writeHead(404);
        response.end();
    }
});
server.listen(Number(process.argv[2] || 0), "127.0.0.1", () => {
    console.log(`http://127.0.0.1:${server.address().port}/lobby`);
});
