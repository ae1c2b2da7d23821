/** Names, links and figures as people read them. Without the browser's objects. */

/**
 * Returns the room that a link leads to: `#room=NAME`, or the last part of the path.
 * @param {{ pathname: string, hash: string }} location
 */
export function roomOf(location) {
    const given = new URLSearchParams(location.hash.slice(1)).get("room");
    if (given) return given;
    try {
        return decodeURIComponent(location.pathname.split("/").pop() || "");
    } catch {
        return "";
    }
}

/**
 * Returns the link to a room. Names that a path cannot have go behind `#`.
 * @param {string} room
 * @param {{ href: string }} location
 */
export function linkTo(room, location) {
    const base = new URL("./", location.href);
    base.hash = "";
    const isPlain = /^[\w-]+$/.test(room) && room !== "health";
    return new URL(isPlain ? room : "#" + new URLSearchParams({ room }), base).href;
}

/**
 * Whether a link works on this machine only.
 * @param {string} link
 */
export function isLocal(link) {
    const { hostname } = new URL(link);
    return hostname === "localhost" || hostname === "[::1]" || hostname.endsWith(".localhost")
        || hostname.startsWith("127.");
}

const WORDS = [
    "amber autumn bright calm clear cosy early gentle golden green hidden kind lucky merry misty morning quiet silver"
        + " snowy sunny",
    "badger beaver cedar comet falcon garden harbour heron island kestrel lantern maple meadow otter pebble river"
        + " robin sparrow valley willow",
].map((words) => words.split(" "));

/**
 * Returns a name for a new room that nobody guesses by accident: two words and three digits.
 * @param {(count: number) => number} random Returns a number below `count`.
 */
export function roomName(random) {
    return WORDS.map((words) => words[random(words.length)]).join("-") + "-" + (100 + random(900));
}

// As in the names of `room receive`: what leads elsewhere, is invisible, or turns the direction of the text around it.
const UNSAFE = /[\p{Cc}\p{Cs}\p{Cn}\p{Co}\p{Zl}\p{Zp}\p{Cf}\u034F\u115F\u1160\u17B4\u17B5\u3164\uFFA0\\/:*?"<>|]/gu;
const DEVICES = /^(con|prn|aux|nul|clock\$|conin\$|conout\$|(com|lpt)[0-9¹²³])[ ]*(\.|$)/i;

/**
 * Returns a name under which a file of somebody else can be saved: one part, without a path, and without characters
 * that mislead.
 * @param {string} name
 */
export function safeFileName(name) {
    let safe = (name.split(/[\\/]/).pop() || "").normalize("NFC").replace(UNSAFE, "_");
    safe = safe.replace(/^[\s.]+|[\s.]+$/gu, "");
    if (DEVICES.test(safe)) safe = "_" + safe;
    const extension = (safe.match(/\.[^.]{1,15}$/u) || [""])[0];
    let stem = Array.from(safe.slice(0, safe.length - extension.length)).slice(0, 200).join("");
    const bytes = (/** @type {string} */ text) => new TextEncoder().encode(text).length;
    while (bytes(stem) + bytes(extension) > 200) stem = Array.from(stem).slice(0, -1).join("");
    return stem + extension || "file";
}

/**
 * Returns the text of a name of somebody else for a label, short and without what is invisible.
 * @param {string} name
 */
export function shownName(name) {
    const shown = name.replace(UNSAFE, "_");
    const letters = Array.from(shown);
    return letters.length > 60 ? letters.slice(0, 59).join("") + "…" : shown || "?";
}

/** @param {number} count */
export function byteCount(count) {
    if (count < 1000) return `${count} B`;
    let value = count;
    for (const unit of ["kB", "MB", "GB", "TB"]) {
        value /= 1000;
        if (value < 999.5) return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${unit}`;
    }
    return `${Math.round(value)} TB`;
}

/** @param {number} seconds */
export function duration(seconds) {
    if (seconds < 0.0095) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
    if (seconds < 0.995) return `${(seconds).toFixed(2)} s`;
    if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
    if (seconds < 59.5) return `${Math.round(seconds)} s`;
    const whole = Math.round(seconds);
    if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
    return `${Math.floor(whole / 3600)} h ${Math.floor(whole % 3600 / 60)} min`;
}

/** @param {number} seconds A round trip. */
export function roundTrip(seconds) {
    const milliseconds = seconds * 1000;
    return milliseconds < 1 ? "< 1 ms" : `${Math.round(milliseconds)} ms`;
}

/**
 * A hue for a name, the same for everybody.
 * @param {string} name
 */
export function hue(name) {
    let hash = 7;
    for (const character of name) hash = (hash * 31 + (character.codePointAt(0) || 0)) >>> 0;
    return hash % 360;
}

/** @param {string} name */
export function initial(name) {
    return (Array.from(name.trim())[0] || "?").toUpperCase();
}

/** @type {Record<string, string>} */
const CAUSES = {
    silence: "No sign of life in time", pathLost: "The path stopped working",
    networkChanged: "The network changed", rejoined: "You came back to the room",
    peerRejoined: "They came back to the room",
    requestedByPeer: "The other side asked for a new path", requested: "A new path was asked for",
    connectionFailed: "The connection failed", connectionClosed: "The connection was closed",
    connectTimeout: "The new connection took too long", channelClosed: "The channel was closed",
    descriptionRefused: "A description was refused", relayCredentials: "The relay's credentials were old",
    reconnectRequested: "A check was asked for", suspended: "This device was asleep",
    connectionLost: "The connection to the server ended", serverGoingAway: "The server restarted",
    refused: "The server refused", waitingForRoom: "The room did not exist yet",
};

/** @param {string} cause The cause of an incident. */
export function causeText(cause) { return CAUSES[cause] || cause; }

/** @type {Record<string, string>} */
const STEPS = {
    detected: "noticed", held: "waited for the server", probed: "asked for a sign of life",
    restartRequested: "asked for a new path", rebuildRequested: "asked for a new connection",
    described: "sent a description", answered: "got the answer", gathered: "found own addresses",
    checked: "a path answered", nominated: "chose a path", connected: "connected", recovered: "healed",
    firstData: "first message", lost: "lost", attempt: "tried again", resumed: "back in the room",
    rejoined: "back in the room anew",
};

/** @param {{ kind: string, cause?: string, number?: number, text?: string }} step */
export function stepText(step) {
    const reason = step.text || (step.cause ? causeText(step.cause).toLowerCase() : "");
    return (STEPS[step.kind] || step.kind) + (step.number && step.number > 1 ? ` (${step.number})` : "")
        + (reason ? `: ${reason}` : "");
}

/** @type {Record<string, string>} */
const LEFT = {
    left: "left", timedOut: "did not come back", kicked: "was removed by the host",
    roomClosed: "left: the room was closed",
};

/** @param {string} reason Why a participant is not in the room any more. */
export function leaveText(reason) { return LEFT[reason] || "left"; }

/**
 * The way of a path in one word, and whether it goes through a relay.
 * @param {{ local: string, remote: string } | undefined} path
 */
export function pathText(path) {
    if (!path) return "";
    return path.local === "relay" || path.remote === "relay" ? "relayed" : "direct";
}
