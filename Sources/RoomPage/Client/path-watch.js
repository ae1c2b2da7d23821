//# allFunctionsCalledOnLoad
import { PathLiveness } from "./path-liveness.js";
import { StuckData } from "./stuck-data.js";
import { minus } from "./time.js";
/**
 * @typedef {import("./path-liveness.js").LivenessAction} LivenessAction
 *
 * @typedef {object} WatchOptions
 * @property {() => number} now
 * @property {import("./pair-types.js").Schedule} schedule
 * @property {() => boolean} [canSignal] Whether a new connection could be agreed on now. By default it could not.
 * @property {import("./numbered-stream.js").NumberedStreams} [streams]
 * @property {import("./path-samples.js").PathSamples} samples
 * @property {RTCPeerConnection | undefined} connection
 * @property {() => void} pathChanged The browser says that data takes another path.
 * @property {() => void} associationClosed The channels have ended.
 * @property {() => void} probe Sends what the other side acknowledges.
 * @property {(isBaseline: boolean) => void} look Looks whether anything has arrived: `heard` or `heardNothing`.
 * @property {(value: import("./peer-types.js").PeerLiveness) => void} report
 * @property {() => void} stuck The path is back, and its channels do not carry data.
 */

/**
 * Watches the path of a connection that is up: what the browser says of it, and the timers of `PathLiveness` and
 * `StuckData`, and what they decide.
 */
export class PathWatch {
    #options;
    #liveness;
    #stuck = new StuckData();
    #cancelStuckTimer = () => {};
    #cancelTimer = () => {};
    #timerAt = Infinity;
    #isStopped = false;
    #sctp;
    /** @type {any} */
    #ice;

    /** @param {WatchOptions} options */
    constructor(options) {
        this.#options = options;
        this.#liveness = new PathLiveness(options.now());
        const sctp = this.#sctp = options.connection?.sctp;
        this.#ice = /** @type {any} */ (sctp?.transport)?.iceTransport;
        if (sctp) sctp.onstatechange = () => sctp.state == "closed" && options.associationClosed();
        if (this.#ice) this.#ice.onselectedcandidatepairchange = options.pathChanged;
        this.examine();
    }

    get isSuspect() { return this.#liveness.isSuspect; }

    /** A round was agreed on: its path is looked for. */
    examine() {
        this.#liveness.examine(this.#options.now());
        this.#startTimer();
    }

    /** The path of the latest round was found. */
    pathFound() { this.#liveness.pathFound(); }

    /** Something has arrived. */
    heard() { this.#perform(this.#liveness.received(this.#options.now())); }

    /** Nothing has arrived since the last look. */
    heardNothing() {
        const { samples, now } = this.#options;
        this.#perform(this.#liveness.heardNothing(samples.roundTrip, now()));
    }

    /** Data was sent. */
    sent() {
        this.#liveness.sent(this.#options.now());
        this.#startTimer();
    }

    /** The next evidence is reported, with or without suspicion. */
    probe() { this.#perform(this.#liveness.probeRequested(this.#options.now())); }

    #startTimer() {
        const { deadline } = this.#liveness;
        if (deadline == this.#timerAt || this.#isStopped) return;
        this.#cancelTimer();
        this.#timerAt = deadline;
        const { now, schedule } = this.#options;
        this.#cancelTimer = schedule(Math.max(0, minus(deadline, now())), () => {
            this.#timerAt = Infinity;
            this.#perform(this.#liveness.timerFired(now()));
        });
    }

    /** @param {LivenessAction[]} actions */
    #perform(actions) {
        const { probe, look, report } = this.#options;
        for (const action of actions) {
            switch (action.type) {
                case "probe":
                    probe();
                    break;
                case "sample":
                    look(action.isBaseline);
                    break;
                case "reportAlive":
                    // The path is back: is data, too?
                    this.#stuck.alive(this.#progress.isOutstanding, this.#options.now());
                    this.#startStuckTimer();
                    report({ type: "alive" });
                    break;
                case "reportSuspect":
                    this.#stuck.suspected(action.since);
                    report({ type: "suspect", since: action.since });
            }
        }
        this.#startTimer();
    }

    /** How much of what was sent on the numbered channels the other side has, and how much it has not. */
    get #progress() {
        const { streams } = this.#options;
        const machines = streams ? [streams.stream("reliable").machine, streams.stream("bulk").machine] : [];
        return {
            acknowledged: machines.reduce((sum, machine) => sum + machine.acknowledged, 0),
            isOutstanding: machines.some((machine) => machine.unacknowledged > 0),
        };
    }

    #startStuckTimer() {
        this.#cancelStuckTimer();
        const { deadline } = this.#stuck;
        if (deadline === undefined || this.#isStopped) return;
        const { now, schedule, canSignal, samples, stuck } = this.#options;
        this.#cancelStuckTimer = schedule(Math.max(0, minus(deadline, now())), () => {
            const { acknowledged, isOutstanding } = this.#progress;
            if (this.#stuck.deadline === undefined || !isOutstanding) return;
            if (this.#stuck.look(acknowledged, canSignal?.() ?? false, samples.roundTrip, now())) stuck();
            else this.#startStuckTimer();
        });
    }

    /** The connection has ended. */
    stop() {
        this.#isStopped = true;
        if (this.#sctp) this.#sctp.onstatechange = null;
        if (this.#ice) this.#ice.onselectedcandidatepairchange = null;
        this.#cancelTimer();
        this.#cancelStuckTimer();
    }
}
