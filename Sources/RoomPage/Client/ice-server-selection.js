//# allFunctionsCalledOnLoad
import { equal } from "./values.js";
/**
 * @typedef {import("./values.js").Case} Case
 * @typedef {import("./room.js").ICEServer} ICEServer
 * @typedef {import("./configuration.js").MachineConfiguration} MachineConfiguration
 */

/**
 * Returns the URL for messages, without the password of a `turn:user:password@host`.
 * @param {string} text
 */
function displayed(text) {
    const parts = /^(.*?:.*?:)(.*)(@[^@]*)$/s.exec(text);
    return parts ? `${parts[1].slice(0, 128)}…${parts[3].slice(0, 128)}` : text.slice(0, 256);
}

/** @param {string} host */
function isIPv6(host) {
    try { return host.includes(":") && !!new URL(`http://[${host}]/`); } catch { return false; }
}

/**
 * Returns why the URL of a STUN or TURN server (RFC 7064 §3.1, RFC 7065 §3.1) cannot be used, or undefined.
 * @param {string} text
 * @param {ICEServer} server
 */
export function flawOfURL(text, server) {
    const [, scheme, rest, query] = /^([^:]*):([^?]*)(?:\?(.*))?$/s.exec(text) ?? [];
    const kind = scheme?.toLowerCase();
    const transport = query === undefined ? undefined : /^transport=(udp|tcp)$/i.exec(query)?.[1].toLowerCase();
    /** @param {string} reason */
    const unusable = (reason) => `the ICE server URL '${displayed(text)}' cannot be used: ${reason}`;
    if (text.length > 512 || /[^\x21-\x7e]/.test(text)) {
        return unusable("it has blanks, control or non-ASCII characters, or is too long");
    }
    if (!["stun", "stuns", "turn", "turns"].includes(kind)) {
        return unusable("it must begin with stun:, stuns:, turn: or turns:");
    }
    if (query !== undefined && !transport) {
        return unusable("after '?' only transport=udp or transport=tcp may follow");
    }
    if ((kind == "stun" && transport == "tcp") || (kind == "stuns" && transport == "udp")) {
        return unusable(`${kind}: is not supported over ${transport}`);
    }
    let port;
    if (rest[0] == "[") {
        const end = rest.indexOf("]");
        if (end < 0) return unusable("a bracket is not closed");
        const after = rest.slice(end + 1);
        if (after && after[0] != ":") return unusable("its port is not a number");
        if (after) port = after.slice(1);
        if (!isIPv6(rest.slice(1, end))) return unusable("there is no IPv6 address in the brackets");
    } else {
        const [, host, after] = /^([^:]*)(?::(.*))?$/s.exec(rest) ?? [];
        port = after;
        if (!/^[0-9A-Za-z._-]{1,253}$/.test(host)) return unusable("its host is not a name or an address");
    }
    if (port !== undefined && (!/^\d{1,5}$/.test(port) || +port < 1 || +port > 65535)) {
        return unusable("its port is not a number from 1 to 65535");
    }
    if (kind[0] != "t") return undefined;
    const { username, credential } = server;
    return username && credential !== undefined ? undefined
        : `the ICE server '${text}' cannot be used: it needs a username and a credential`;
}

/**
 * Returns a fault as an error that programs see.
 * @param {Case} fault
 */
export function iceServersError(fault) {
    const { type, urls } = fault;
    const relay = "only relayed paths are allowed (icePolicy relay), and ";
    const [protocolCode, message] = {
        unusable: ["ice_server_unusable", `${fault.why}; it is left out. Correct the list of the room server, of the `
            + "configuration or of the provider"],
        more: ["ice_server_unusable", `${fault.value} more ICE servers are left out. Correct the list that they come `
            + "from, and give fewer of them"],
        nothingUsable: ["no_usable_ice_server", `this peer backend can use none of the ICE servers (${urls}): it `
            + "speaks no TLS to them. Name them as stun: and turn: too, or choose another backend"],
        noRelay: ["no_usable_relay", relay + (urls
            ? `this peer backend can relay over none of the ICE servers (${urls}): nobody can be reached. Name a TURN `
                + "server as turn: too (over UDP or TCP, without TLS)"
            : "there is no TURN server: nobody can be reached. Name one, at the room server or in the configuration")],
    }[type] ?? [];
    return { code: "configuration", message, protocolCode, isRetryable: false };
}

/**
 * Selects the usable ones from lists of ICE servers, and reports once each that is not. Faults: `unusable(why)`,
 * `more(value)`, `nothingUsable(urls)`, `noRelay(urls)`.
 */
export class ICEServerSelection {
    /** @param {MachineConfiguration["ice"]} configuration */
    constructor(configuration) {
        this.configuration = configuration;
        this.reported = new Set();
        /** @type {Case[]} */
        this.unreported = [];
        this.excess = 0;
        this.hasReportedExcess = false;
        /**
         * The last reported fault of the whole list, as long as it holds.
         * @type {Case | undefined}
         */
        this.verdict = undefined;
    }

    /**
     * Returns the servers with those of their URLs that can be used, each once.
     * @param {ICEServer[]} servers
     * @returns {ICEServer[]}
     */
    usable(servers) {
        const known = new Set();
        const result = [];
        for (const server of servers) {
            const urls = [];
            for (const url of server.urls) {
                const key = JSON.stringify([url, server.username, server.credential]);
                if (known.has(key)) continue;
                const flaw = flawOfURL(url, server);
                if (flaw) {
                    this.exclude(url, flaw);
                } else if (known.size >= 64) {
                    this.excess += 1;
                } else {
                    known.add(key);
                    urls.push(url);
                }
            }
            if (urls.length) result.push({ ...server, urls });
        }
        return result;
    }

    /**
     * @param {string} url
     * @param {string} why
     */
    exclude(url, why) {
        if (this.reported.has(url)) return;
        if (this.reported.size >= 16) {
            this.excess += 1;
            return;
        }
        this.reported.add(url);
        this.unreported.push({ type: "unusable", why });
    }

    /** Returns the faults of single servers. */
    faults() {
        const faults = this.unreported;
        this.unreported = [];
        if (!this.configuration.usesServers) return [];
        if (this.excess > 0 && !this.hasReportedExcess) {
            this.hasReportedExcess = true;
            faults.push({ type: "more", value: this.excess });
        }
        return faults;
    }

    /**
     * Returns the fault of the whole list.
     * @param {ICEServer[]} servers
     */
    judge(servers) {
        const before = this.verdict;
        this.verdict = this.fault(servers);
        return equal(this.verdict, before) ? undefined : this.verdict;
    }

    /**
     * @param {ICEServer[]} servers
     * @returns {Case | undefined}
     */
    fault(servers) {
        const { usesServers, usesTLS, policy } = this.configuration;
        if (!usesServers) return undefined;
        const all = servers.flatMap((server) => server.urls);
        const urls = all.slice(0, 4).join(", ") + (all.length > 4 ? ", …" : "");
        const usable = all.filter((url) => usesTLS || !/^(stuns|turns):/i.test(url));
        if (policy == "relay") {
            return usable.some((url) => /^turn/i.test(url)) ? undefined : { type: "noRelay", urls };
        }
        return !all.length || usable.length ? undefined : { type: "nothingUsable", urls };
    }
}
