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
function isHost(host) {
    if (host[0] != "[") return /^[\w.-]{1,253}$/.test(host);
    try {
        return /^\[[\da-f:.]+\]$/i.test(host) && !!new URL(`http://${host}/`);
    } catch {
        return false;
    }
}

/**
 * Returns why the URL of a STUN or TURN server (RFC 7064 §3.1, RFC 7065 §3.1) cannot be used, or undefined.
 * @param {string} text
 * @param {ICEServer} server
 */
export function flawOfURL(text, { username, credential }) {
    const [, scheme = "", host = "", port, query] =
        /^([^:]*):(\[[^\]]*\]|[^:?]*)(?::([^?]*))?(?:\?(.*))?$/s.exec(text) ?? [];
    const kind = scheme.toLowerCase();
    const transport = query && /^transport=(udp|tcp)$/i.exec(query)?.[1].toLowerCase();
    const isPort = port === undefined || /^\d{1,5}$/.test(port) && !(+port < 1 || +port > 65535);
    /** @type {[boolean, string][]} */
    const rules = [
        [text.length <= 512 && !/[^\x21-\x7e]/.test(text),
            "it has blanks, control or non-ASCII characters, or is too long"],
        [/^(stun|turn)s?$/.test(kind), "it must begin with stun:, stuns:, turn: or turns:"],
        [query === undefined || !!transport, "after '?' only transport=udp or transport=tcp may follow"],
        [!["stun tcp", "stuns udp"].includes(`${kind} ${transport}`), `${kind}: is not supported over ${transport}`],
        [isHost(host), "its host is not a name or an address"],
        [isPort, "its port is not a number from 1 to 65535"],
    ];
    const broken = rules.find(([holds]) => !holds);
    if (broken) return `the ICE server URL '${displayed(text)}' cannot be used: ${broken[1]}`;
    return kind[0] != "t" || (username && credential !== undefined) ? undefined
        : `the ICE server '${text}' cannot be used: it needs a username and a credential`;
}

/**
 * Returns a fault as an error that programs see.
 * @param {Case} fault
 */
export function iceServersError({ type, why, value, urls }) {
    const [protocolCode, message] = type == "unusable" ? ["ice_server_unusable",
        `${why}; it is left out. Correct the list of the room server, of the configuration or of the provider`]
        : type == "more" ? ["ice_server_unusable",
            `${value} more ICE servers are left out. Correct the list that they come from, and give fewer of them`]
            : ["no_usable_relay", "only relayed paths are allowed (icePolicy relay), and " + (urls
                ? `this peer backend can relay over none of the ICE servers (${urls}): nobody can be reached. Name a `
                    + "TURN server as turn: too (over UDP or TCP, without TLS)" : "there is no TURN server: nobody "
                    + "can be reached. Name one, at the room server or in the configuration")];
    return { code: "configuration", message, protocolCode, isRetryable: false };
}

/**
 * Selects the usable ones from lists of ICE servers, and reports once each that is not. Faults: `unusable(why)`,
 * `more(value)`, `noRelay(urls)`. A browser speaks to all that are written correctly.
 */
export class ICEServerSelection {
    #policy;
    /** @type {Set<string>} */
    #reported = new Set();
    /** @type {Case[]} */
    #faults = [];
    #excess = 0;
    #hasReportedExcess = false;
    /**
     * The last reported fault of the whole list, as long as it holds.
     * @type {Case | undefined}
     */
    #verdict;

    /** @param {MachineConfiguration["ice"]} configuration */
    constructor({ policy }) { this.#policy = policy; }

    /**
     * Returns the servers with those of their URLs that can be used, each once.
     * @param {ICEServer[]} servers
     * @returns {ICEServer[]}
     */
    usable(servers) {
        const known = new Set();
        /**
         * @param {string} url
         * @param {ICEServer} server
         */
        const isUsable = (url, server) => {
            const key = JSON.stringify([url, server.username, server.credential]);
            if (known.has(key)) return false;
            const why = flawOfURL(url, server);
            if (why) this.#exclude(url, why);
            else if (known.size < 64) return !!known.add(key);
            else this.#excess += 1;
            return false;
        };
        return servers.map((server) => ({ ...server, urls: server.urls.filter((url) => isUsable(url, server)) }))
            .filter(({ urls }) => urls.length);
    }

    /**
     * @param {string} url
     * @param {string} why
     */
    #exclude(url, why) {
        if (this.#reported.has(url)) return;
        if (this.#reported.size >= 16) {
            this.#excess += 1;
        } else {
            this.#reported.add(url);
            this.#faults.push({ type: "unusable", why });
        }
    }

    /** Returns the faults of single servers. */
    faults() {
        const faults = this.#faults;
        this.#faults = [];
        if (this.#excess > 0 && !this.#hasReportedExcess) {
            this.#hasReportedExcess = true;
            faults.push({ type: "more", value: this.#excess });
        }
        return faults;
    }

    /**
     * Returns the fault of the whole list.
     * @param {ICEServer[]} servers
     */
    judge(servers) {
        const before = this.#verdict;
        const all = servers.flatMap((server) => server.urls);
        const urls = all.slice(0, 4).join(", ") + (all.length > 4 ? ", …" : "");
        const isFault = this.#policy == "relay" && !all.some((url) => /^turn/i.test(url));
        this.#verdict = isFault ? { type: "noRelay", urls } : undefined;
        return equal(this.#verdict, before) ? undefined : this.#verdict;
    }
}

/**
 * Returns servers as `RTCPeerConnection` takes them: without a query behind `stun:`.
 * @param {import("./peer-types.js").ICEServer[]} servers
 */
export const browserServers = (servers) => servers.map(({ urls, username, credential }) =>
    ({ urls: urls.map((url) => /^stuns?:/i.test(url) ? url.replace(/\?.*/, "") : url), username, credential }));
