//# allFunctionsCalledOnLoad
import { CandidateRound, lineOf } from "./candidate-round.js";
import { browserServers } from "./ice-server-selection.js";
import { PathSamples } from "./path-samples.js";
import { PathWatch } from "./path-watch.js";
import { PeerChannels, parametersOf } from "./peer-channels.js";
import { diagnose } from "./peer-diagnosis.js";
import { failureOf, peerFailure } from "./peer-failure.js";
import { equal } from "./values.js";

/** @typedef {import("./peer-types.js").PeerFact} PeerFact */
/** @typedef {import("./peer-types.js").PeerPath} PeerPath */

/** The largest message that this side takes and sends (RFC 8841 §6). */
const messageLimit = 262_144;
/** How long a connection that has failed here stays open: until the other side has heard by signaling of a new one. */
const lingering = 3;
/** How long Firefox may look for the first path until it is to look anew. */
const checking = 3;
/** The cause of an SCTP abort when the other side has closed its connection (RFC 9260 §3.3.10.12). */
const userInitiatedAbort = 12;
const isFirefox = / Gecko\//.test(globalThis.navigator?.userAgent ?? "");

/**
 * One peer connection of a browser: performs what the machine of its peer decides, reports facts to it, and hands
 * channels and messages to the delivery of the pair.
 */
export class BrowserPeer {
    #options;
    /**
     * Undefined when the connection has ended.
     * @type {RTCPeerConnection | undefined}
     */
    #connection;
    #channels = new PeerChannels({
        opened: (channel) => this.#opened(channel), received: (channel, data) => this.#received(channel, data),
        writable: (label) => this.#options.delivery.writable(label), closed: (channel) => this.#closed(channel),
        failed: (error) => this.#failed(error),
    });
    /** The machine was told that the connection is up. */
    #isUp = false;
    /** A channel was open: encryption and channels work. */
    #hasOpened = false;
    /** ICE says that no path works at the moment. */
    #isLost = false;
    /**
     * Of a connection that has opened.
     * @type {PathWatch | undefined}
     */
    #watch;
    #samples = new PathSamples();
    /** @type {PeerPath | undefined} */
    #path;
    #round = new CandidateRound();
    /** @type {number | undefined} */
    #lastEvidence;

    /** @param {import("./peer-types.js").BrowserPeerOptions} options */
    constructor(options) {
        this.#options = options;
        const create = options.create ?? ((configuration) => new RTCPeerConnection(configuration));
        /** @type {RTCConfiguration} */
        this.configuration = { bundlePolicy: "max-bundle", iceTransportPolicy: options.icePolicy };
        this.#setServers(options.iceServers);
        try {
            this.#open(create(this.configuration));
        } catch (error) {
            // Browsers limit their number; a server that cannot be used is an argument.
            const isLimit = /** @type {any} */ (error)?.name == "UnknownError";
            const failure = { ...failureOf(error), ...(isLimit && { code: "resourceExhausted" }) };
            Promise.resolve().then(() => {
                options.delivery.detached();
                options.report({ type: "closed", value: failure });
            });
        }
    }

    /** @param {RTCPeerConnection} connection */
    #open(connection) {
        this.#connection = connection;
        connection.oniceconnectionstatechange = connection.onconnectionstatechange = () => this.#stateChanged();
        connection.onicecandidate = ({ candidate }) => {
            const fact = this.#round.found(candidate);
            if (fact) this.#report(fact);
        };
        connection.ondatachannel = ({ channel }) => this.#channels.adopt(channel);
    }

    /** Whether the connection has not ended. */
    get isOpen() { return this.#connection !== undefined; }

    /** @param {PeerFact} fact */
    #report(fact) { if (this.#connection) this.#options.report(fact); }

    // Commands

    /**
     * Performs a command of the machine, except `create`.
     * @param {import("./peer-types.js").PeerCommand} command
     */
    perform(command) {
        const connection = this.#connection;
        if (!connection) return;
        switch (command.type) {
            case "close": return this.close();
            case "makeOffer": return this.#describe(connection, () => connection.createOffer());
            case "restartPath":
                this.#setServers(command.iceServers);
                return this.#describe(connection, () => connection.createOffer({ iceRestart: true }));
            case "setRemoteDescription": return this.#setRemoteDescription(connection, command.value);
            case "addRemoteCandidate":
                // One that cannot be used is ignored.
                connection.addIceCandidate(this.#round.foundByPeer(command.value)).catch(() => {});
                break;
            case "updateICEServers": return this.#setServers(command.value);
            case "probe": return this.#watch?.probe();
            case "diagnose":
                this.#look().then(() => this.#report({ type: "diagnosed", value: this.#stall }));
                break;
            case "sendHint": this.#options.delivery.sendHint(command.value);
        }
    }

    /**
     * New servers are used by the next round.
     * @param {import("./peer-types.js").ICEServer[]} servers
     */
    #setServers(servers) {
        this.configuration.iceServers = browserServers(servers);
        try {
            this.#connection?.setConfiguration(this.configuration);
        } catch {
            // Firefox before 99 keeps those that it has.
        }
    }

    /**
     * Makes a description of this side. It goes out before it is applied: its candidates follow.
     * @param {RTCPeerConnection} connection @param {() => Promise<RTCSessionDescriptionInit>} make
     */
    async #describe(connection, make) {
        try {
            const { type, sdp: text = "" } = await make();
            if (connection !== this.#connection) return;
            this.#round.described(text);
            const applied = connection.setLocalDescription({ type, sdp: text });
            this.#report({ type: "localDescription", value: { kind: type == "offer" ? "offer" : "answer", text } });
            await applied;
        } catch (error) {
            this.#report({ type: "descriptionRefused", value: failureOf(error) });
        }
    }

    /** @param {RTCPeerConnection} connection @param {import("./peer-types.js").SessionDescription} description */
    async #setRemoteDescription(connection, { kind, text }) {
        this.#round.describedByPeer(text);
        try {
            await connection.setRemoteDescription({ type: kind, sdp: text });
        } catch (error) {
            this.#report({ type: "descriptionRefused", value: failureOf(error, true) });
            return;
        }
        if (connection !== this.#connection) return;
        if (kind == "offer") await this.#describe(connection, () => connection.createAnswer());
        this.#watch?.examine();
        if (this.#hasOpened || !this.#isFailureFinal) return;
        // Firefox repeats its checks more and more rarely, and then gives up. A restart begins anew.
        this.#options.schedule(checking, () => {
            if (!this.#hasOpened && !this.#isLost) this.#report({ type: "state", value: "disconnected" });
        });
    }

    get #isFailureFinal() { return this.#options.isFailureFinal ?? isFirefox; }

    // States

    #stateChanged() {
        const connection = this.#connection;
        if (!connection) return;
        // Chromium's connectionState fails where its iceConnectionState does not, and Firefox before 113 has no other.
        const { iceConnectionState: ice, connectionState: whole } = connection;
        const isPathUp = ice == "connected" || ice == "completed";
        const wasLost = this.#isLost;
        this.#isLost = ice == "disconnected" || ice == "failed" ||
            (!isPathUp && (whole == "disconnected" || whole == "failed"));
        // Of connectionState the failure of the path before a restart may still be read.
        if (isPathUp && connection.sctp?.transport?.state == "failed")
            return this.#end(peerFailure("the encryption of the path has failed", "handshakeFailed"));
        if (this.#isFailureFinal && this.#hasOpened && (ice == "failed" || (whole == "failed" && !isPathUp)))
            return this.#end(peerFailure("the path has failed", "timedOut"));
        if (isPathUp) this.#look();
        if (!this.#isLost) return this.#updateState();
        this.#isUp = false;
        if (!wasLost) this.#report({ type: "state", value: "disconnected" });
    }

    /** Reports that the connection is up, when it has become so. */
    #updateState() {
        const isUp = this.#hasOpened && !this.#isLost && this.#options.delivery.isReady;
        if (isUp == this.#isUp) return;
        this.#isUp = isUp;
        if (isUp) this.#report({ type: "state", value: "connected" });
    }

    /** The first channel is open: the connection can carry data. */
    #connected() {
        if (this.#hasOpened) return;
        this.#hasOpened = true;
        const { delivery, now, schedule, canSignal } = this.#options;
        this.#watch = new PathWatch({
            now, schedule, canSignal, streams: delivery.streams, samples: this.#samples,
            connection: this.#connection, pathChanged: () => this.#look(),
            associationClosed: () => this.#associationClosed(),
            probe: () => this.#channels.probe(), look: (isBaseline) => this.#look(true, isBaseline),
            report: (value) => this.#report({ type: "liveness", value }),
            stuck: () => this.#end(peerFailure("the path is back, and its channels do not carry data", "timedOut")),
        });
        delivery.connected();
    }

    // Channels

    /**
     * Opens a channel; `channelOpened` of the delivery follows.
     * @param {import("./delivery-channel.js").ChannelParameters} parameters
     */
    openChannel(parameters) {
        if (!this.#connection) throw new Error("the connection has ended");
        this.#channels.open(this.#connection, parameters);
    }

    /** @param {RTCDataChannel} channel */
    #opened(channel) {
        this.#connected();
        this.#options.delivery.channelOpened(channel.label, parametersOf(channel));
        this.#updateState();
    }

    /** @param {RTCDataChannel} channel */
    #closed(channel) {
        const connection = this.#connection;
        if (!connection) return;
        if (connection.sctp?.state == "closed") return this.#associationClosed();
        const { delivery } = this.#options;
        const { label } = channel;
        // Of one that was not opened the delivery is told, too: it waits for it.
        if (!this.#channels.remove(channel)) return;
        delivery.channelClosed(label);
        const next = this.#channels.inUse(label);
        if (next) delivery.channelOpened(label, parametersOf(next));
        if (delivery.isReady || !this.#isUp) return;
        this.#isUp = false;
        this.#report({ type: "channelClosed" });
    }

    /**
     * The other side has closed its connection. But over a path that is silent no word of that can have come; and
     * Firefox itself gives a connection up some seconds after an ICE restart that finds no path.
     */
    #associationClosed() {
        const isSearching = this.#isFailureFinal && this.#path?.usernameFragment !== this.#round.fragment;
        const isFailure = this.#isLost || this.#watch?.isSuspect || isSearching;
        this.#end(isFailure ? peerFailure("the path has failed", "timedOut") : undefined);
    }

    /** @param {RTCError | undefined} error */
    #failed(error) {
        if (error?.errorDetail != "sctp-failure") return;
        const isOrderly = error.sctpCauseCode == userInitiatedAbort;
        this.#end(isOrderly ? undefined : peerFailure(`the channels have failed: ${error.message}`, "closed"));
    }

    /** @param {RTCDataChannel} channel @param {string | Uint8Array} data */
    #received(channel, data) {
        const { delivery, now } = this.#options;
        this.#lastEvidence = now();
        this.#watch?.heard();
        // Of numbered channels only the newest is read: what comes on an older one comes again.
        const isNewest = this.#channels.inUse(channel.label) === channel;
        if (this.#connection && (isNewest || !channel.protocol)) delivery.received(channel.label, data);
    }

    // The link of the delivery

    /**
     * Sends a message. Returns why not: `messageTooLarge`, `wouldBlock`, `closed`.
     * @param {string} label @param {Uint8Array | string} data
     */
    send(label, data) {
        const refusal = this.#channels.send(label, data, this.maximumMessageSize());
        if (!refusal) this.#watch?.sent();
        return refusal;
    }

    /**
     * Bytes that a channel has taken and not sent.
     * @param {string} label
     */
    bufferedAmount(label) { return this.#channels.inUse(label)?.bufferedAmount ?? 0; }

    /** The largest message that the other side accepts. A description without one means 64 KiB (RFC 8841 §6). */
    maximumMessageSize() { return Math.min(this.#connection?.sctp?.maxMessageSize ?? 65_536, messageLimit); }

    /**
     * Closes the channel in use.
     * @param {string} label
     */
    closeChannel(label) { this.#channels.inUse(label)?.close(); }

    // The path

    /**
     * Looks at the counters and the path. `isSample`: that nothing has arrived counts. `isBaseline`: that something has
     * arrived does not.
     * @param {boolean} [isSample] @param {boolean} [isBaseline]
     */
    async #look(isSample = false, isBaseline = false) {
        const connection = this.#connection;
        if (!connection) return;
        const report = await connection.getStats().catch(() => undefined);
        if (!report || connection !== this.#connection) return;
        const { hasHeard, path } = this.#samples.take(/** @type {any} */ (report));
        if (path) this.#found(path);
        if (isBaseline || !(hasHeard || isSample)) return;
        if (!hasHeard) return this.#watch?.heardNothing();
        this.#lastEvidence = this.#options.now();
        this.#watch?.heard();
    }

    /** @param {PeerPath} path */
    #found(path) {
        const isLatest = path.usernameFragment === this.#round.fragment;
        if (isLatest) this.#watch?.pathFound();
        if (equal(path, this.#path)) return;
        if (isLatest && this.#path && this.#connection) this.#channels.nudge(this.#connection);
        this.#path = path;
        this.#report({ type: "checked" });
        this.#report({ type: "pathChanged", value: path });
    }

    /** Why the connection is not up, or carries no data; undefined: it is not known. */
    get #stall() {
        const { icePolicy, delivery } = this.#options;
        return diagnose(this.#connection, this.#round, icePolicy == "relay", this.#hasOpened, delivery.isReady);
    }

    /** Counters for display. */
    get statistics() {
        this.#look();
        return { ...this.#channels.counts, roundTrip: this.#samples.roundTrip, lastEvidence: this.#lastEvidence };
    }

    /** The fingerprints of the certificates of both sides, `sha-256 AB:CD:…`, when the connection was up. */
    get fingerprints() {
        const local = lineOf(this.#connection?.localDescription?.sdp, "fingerprint");
        const remote = lineOf(this.#connection?.remoteDescription?.sdp, "fingerprint");
        return local && remote && this.#hasOpened ? { local, remote } : undefined;
    }

    // The end

    /**
     * Ends the connection, whatever its state, and reports it: the other side broke the protocol.
     * @param {string} reason
     */
    fail(reason) { this.#end(peerFailure(reason, "protocolViolation")); }

    /**
     * The connection has ended. Without a failure: the other side has closed it.
     * @param {import("./peer-types.js").PeerFailure} [value]
     */
    #end(value) {
        if (!this.#connection) return;
        const { delivery, report } = this.#options;
        // An answerer's request for a new connection must not come behind the end of the old one.
        this.close(value ? lingering : 0);
        // It is no outage: the end comes right behind the word, and would overtake it.
        if (delivery.isLeaving) report({ type: "leaving" });
        report({ type: "closed", value });
    }

    /**
     * Closes the connection, drops every reference to it, and reports nothing. Idempotent. `after`: the other side
     * notices it so much later.
     * @param {number} [after]
     */
    close(after = 0) {
        const connection = this.#connection;
        if (!connection) return;
        this.#connection = undefined;
        this.#watch?.stop();
        this.#watch = undefined;
        connection.oniceconnectionstatechange = connection.onconnectionstatechange = null;
        connection.onicecandidate = connection.ondatachannel = null;
        this.#channels.release();
        if (after) this.#options.schedule(after, () => connection.close());
        else connection.close();
        this.#options.delivery.detached();
    }
}
