/** The invitation to a room: its link, and the QR code of that. */
import { byID, drawing, setText } from "./dom.js";
import { isLocal, linkTo } from "./text.js";

/**
 * Shows the link of a room, and its QR code.
 * @param {string} name
 */
export async function invite(name) {
    const { qrCode } = await import("./transfers.js");
    const link = linkTo(name, location);
    byID("invite-link").value = link;
    byID("invite-local").hidden = !isLocal(link);
    setText(byID("invite-copy"), "Copy");
    const rows = qrCode(link);
    byID("invite-code").replaceChildren(...rows ? [drawCode(rows)] : []);
    byID("invite-code").hidden = !rows;
    const dialog = byID("invite");
    if (dialog.showModal) dialog.showModal(); else dialog.setAttribute("open", "");
    byID("invite-copy").focus();
}

/** @param {boolean[][]} rows */
function drawCode(rows) {
    const size = rows.length + 8;
    const path = rows.flatMap((row, y) => row.map((isDark, x) => isDark ? `M${x + 4} ${y + 4}h1v1h-1z` : "")).join("");
    return drawing("svg", { viewBox: `0 0 ${size} ${size}`, "shape-rendering": "crispEdges", "aria-hidden": "true" },
        drawing("rect", { width: size, height: size, fill: "#fff" }), drawing("path", { d: path, fill: "#000" }));
}

export async function copyLink() {
    const field = byID("invite-link");
    try {
        await navigator.clipboard.writeText(field.value);
    } catch {
        // Pages of plain http have no clipboard.
        field.select();
        document.execCommand("copy");
    }
    setText(byID("invite-copy"), "Copied");
    setText(byID("announcer"), "The link is copied");
}
