//# allFunctionsCalledOnLoad
import { EarlyCandidates } from "./early-candidates.js";
import { connectionID } from "./random.js";
import { RetiredConnections } from "./retired-connections.js";

/** @typedef {import("./peer-types.js").Random} Random */
/** @typedef {import("./peer-types.js").Signal} Signal */
/** @typedef {import("./peer-types.js").SignalBody} SignalBody */
/** @typedef {import("./peer-types.js").SessionDescription} SessionDescription */
/** @typedef {import("./peer-types.js").PeerCandidate} PeerCandidate */

/**
 * @typedef {{ type: "create", value: string } | { type: "close", value: string } | { type: "makeOffer", value: string }
 *   | { type: "restartPath", value: string }
 *   | { type: "setRemoteDescription", value0: string, value1: SessionDescription }
 *   | { type: "addRemoteCandidate", value0: string, value1: PeerCandidate }
 *   | { type: "signal", value0: string, value1: number, value2: SignalBody }
 *   | { type: "replaced" | "described" | "agreed" | "restartRequested" | "rebuildRequested" | "connectionRequested"
 *     | "gathered" }} NegotiationAction
 * `replaced`: the other side has offered a new connection, which takes the place of ours. `described`: our description
 * of this round has gone out. `agreed`: both descriptions of this round are known. `connectionRequested`: the other
 * side has no connection at all.
 *
 * @typedef {{ connection: string, negotiation: number, hasAgreed: boolean, early: EarlyCandidates }} Round
 * `hasAgreed`: an earlier round was answered, so the path can be restarted. `early`: of this round or the next, before
 * their description.
 * @typedef {{ negotiation: number, description: SessionDescription }} Offer
 *
 * @typedef {{ type: "none" }
 *   | { type: "offering", round: Round }
 *   | { type: "offered", round: Round, restartsAfterwards: boolean }
 *   | { type: "answering", round: Round, next?: Offer }
 *   | { type: "stable", round: Round }
 *   | { type: "closed", round: Round }} State
 * - none. Can transition to: offering (offerer), answering (answerer).
 * - offering: the transport was asked for an offer. Can transition to: offered, closed, offering (rebuild).
 * - offered: the offer is out. Can transition to: stable, offering (restart, rebuild), closed.
 * - answering: the transport was asked for an answer; a newer offer waits for it. Can transition to: stable, answering
 *   (the next offer, or one for a new connection), closed.
 * - stable. Can transition to: offering (offerer), answering (answerer), closed.
 * - closed: the transport has ended the connection. Can transition to: offering (offerer), answering (answerer).
 */

/**
 * Offers and answers with one participant. One side of a pair is the offerer for good; the other asks it for what it
 * needs. Whatever belongs to another connection or an older round is recognised and dropped.
 */
export class NegotiationMachine {
    #candidateLimit;
    /** @type {State} */
    #state = { type: "none" };
    #retired = new RetiredConnections();
    /**
     * For a connection that is not known yet. Of several unknown connections the latest counts.
     * @type {EarlyCandidates | undefined}
     */
    #early;
    /** @type {NegotiationAction[]} */
    #actions = [];

    /** @param {boolean} isOfferer @param {number} candidateLimit */
    constructor(isOfferer, candidateLimit) {
        this.isOfferer = isOfferer;
        this.#candidateLimit = candidateLimit;
    }

    /**
     * The round of the connection that lives.
     * @returns {Round | undefined}
     */
    get #current() {
        const state = this.#state;
        return state.type === "none" || state.type === "closed" ? undefined : state.round;
    }

    /**
     * The connection that lives.
     * @returns {string | undefined}
     */
    get connection() { return this.#current?.connection; }

    /**
     * How far the present round is: `none` (there was no connection yet), `describing` (the transport writes our
     * description), `offered` or `reoffered` (our offer waits for its answer, the first one, or one of a new path),
     * `agreed` (both sides have described the round), `ended`.
     * @returns {"none" | "describing" | "offered" | "reoffered" | "agreed" | "ended"}
     */
    get progress() {
        const state = this.#state;
        switch (state.type) {
            case "none": return "none";
            case "offering": case "answering": return "describing";
            case "offered": return state.round.hasAgreed ? "reoffered" : "offered";
            case "stable": return "agreed";
            case "closed": return "ended";
        }
    }

    /** A round is under way. */
    get isNegotiating() { return ["offering", "offered", "answering"].includes(this.#state.type); }

    #taken() {
        return this.#actions.splice(0);
    }

    /** @param {...NegotiationAction} actions */
    #act(...actions) { this.#actions.push(...actions); }

    /** @param {string} connection @param {number} negotiation @param {SignalBody} body */
    #signal(connection, negotiation, body) {
        this.#act({ type: "signal", value0: connection, value1: negotiation, value2: body });
    }

    // Our wishes

    /**
     * A new connection: offered, or asked for.
     * @param {string} reason @param {Random} random
     */
    rebuild(reason, random) {
        this.#rebuild(reason, random);
        return this.#taken();
    }

    /** @param {string} reason @param {Random} random */
    #rebuild(reason, random) {
        if (!this.isOfferer) {
            const state = this.#state;
            // Round 0: there is no connection that could be named.
            const { connection, negotiation } =
                state.type === "none" ? { connection: connectionID(random), negotiation: 0 } : state.round;
            this.#signal(connection, negotiation, { type: "rebuildRequest", reason });
            return;
        }
        this.#retire();
        const connection = connectionID(random);
        this.#state = { type: "offering", round: this.#makeRound(connection) };
        this.#act({ type: "create", value: connection }, { type: "makeOffer", value: connection });
    }

    /**
     * A new path under the connection: offered, or asked for. A round that is under way is waited for, unless it is to
     * be superseded (nothing came of it, or its messages are lost).
     * @param {boolean} superseding @param {string} reason @param {Random} random
     */
    restart(superseding, reason, random) {
        const state = this.#state;
        switch (state.type) {
            case "none": case "closed":
                this.#rebuild(reason, random);
                break;
            case "offering": break;
            case "offered":
                if (!superseding) state.restartsAfterwards = true;
                else if (state.round.hasAgreed) this.#restart(state.round);
                else this.#rebuild(reason, random);
                break;
            case "answering": case "stable":
                if (state.type === "stable" && this.isOfferer) this.#restart(state.round);
                else
                    this.#signal(state.round.connection, state.round.negotiation, { type: "restartRequest", reason });
        }
        return this.#taken();
    }

    /** @param {Round} round */
    #restart(round) {
        round.negotiation += 1;
        round.early.drop(round.negotiation);
        this.#state = { type: "offering", round };
        this.#act({ type: "restartPath", value: round.connection });
    }

    /** The participant is gone. */
    close() {
        this.#retire();
        this.#state = { type: "none" };
        return this.#taken();
    }

    #retire() {
        const state = this.#state;
        if (state.type === "none") return;
        this.#retired.insert(state.round.connection);
        if (state.type !== "closed") this.#act({ type: "close", value: state.round.connection });
    }

    /**
     * The first round of a connection, with the candidates that came before it.
     * @param {string} connection
     */
    #makeRound(connection) {
        const known = this.#early?.connection === connection ? this.#early : undefined;
        const early = known ?? new EarlyCandidates(connection, this.#candidateLimit);
        return { connection, negotiation: 1, hasAgreed: false, early };
    }

    // Facts of the transport about the living connection

    /** @param {SessionDescription} description */
    localDescription(description) {
        const state = this.#state;
        /** @type {SignalBody} */
        const body = { type: "description", value: description };
        if (state.type === "offering" && description.kind === "offer") {
            this.#state = { type: "offered", round: state.round, restartsAfterwards: false };
            this.#signal(state.round.connection, state.round.negotiation, body);
            this.#act({ type: "described" });
        } else if (state.type === "answering" && description.kind === "answer") {
            state.round.hasAgreed = true;
            this.#signal(state.round.connection, state.round.negotiation, body);
            this.#act({ type: "described" }, { type: "agreed" });
            this.#settle(state.round, state.next);
        }
        return this.#taken();
    }

    /**
     * The round has ended; the next offer has its turn.
     * @param {Round} round @param {Offer} [next]
     */
    #settle(round, next) {
        this.#state = { type: "stable", round };
        if (next) this.#answer(next, round);
    }

    /**
     * The transport has not taken the other side's description. Where it was the offer of a new path, the connection is
     * what it was, no answer will come, and the next offer has its turn.
     */
    descriptionRefused() {
        const state = this.#state;
        if (state.type === "answering" && state.round.hasAgreed) this.#settle(state.round, state.next);
        return this.#taken();
    }

    /**
     * The transport could not begin the round, and has changed nothing. `value`: an earlier round was agreed on, and
     * its path is what it was.
     */
    notPrepared() {
        const state = this.#state;
        if (state.type === "offering" && state.round.hasAgreed) {
            // It was never signalled.
            state.round.negotiation -= 1;
            this.#state = { type: "stable", round: state.round };
            return { value: true, actions: this.#taken() };
        }
        return { value: state.type === "answering" && state.round.hasAgreed, actions: this.descriptionRefused() };
    }

    /** @param {PeerCandidate} candidate */
    localCandidate(candidate) {
        const round = this.#current;
        if (round) this.#signal(round.connection, round.negotiation, { type: "candidate", value: candidate });
        return this.#taken();
    }

    /** @param {string} usernameFragment */
    endOfLocalCandidates(usernameFragment) {
        const round = this.#current;
        if (round) {
            this.#signal(round.connection, round.negotiation, { type: "endOfCandidates", usernameFragment });
            this.#act({ type: "gathered" });
        }
        return this.#taken();
    }

    /** The transport has ended the connection. */
    connectionClosed() {
        const round = this.#current;
        if (round) this.#state = { type: "closed", round };
    }

    // Signals of the other side

    /** @param {Signal} signal */
    received(signal) {
        if (!this.#retired.contains(signal.connection)) this.#received(signal);
        return this.#taken();
    }

    /** @param {Signal} signal */
    #received(signal) {
        const body = signal.body;
        const state = this.#state;
        switch (body.type) {
            case "description":
                if ((body.value.kind === "offer") === this.isOfferer) break;
                if (this.isOfferer) this.#receivedAnswer(signal, body.value);
                else this.#receivedOffer(signal, body.value);
                break;
            case "candidate":
                this.#receivedCandidate(body.value, signal);
                break;
            case "endOfCandidates":
                this.#receivedCandidate({ text: "", usernameFragment: body.usernameFragment }, signal);
                break;
            case "restartRequest":
                // A round that is newer than the one that is complained of is the answer already.
                if (
                    this.isOfferer && state.type === "stable" && state.round.connection === signal.connection &&
                    state.round.negotiation === signal.negotiation
                )
                    this.#act({ type: "restartRequested" });
                break;
            case "rebuildRequest":
                if (!this.isOfferer) break;
                if (signal.negotiation === 0) this.#act({ type: "connectionRequested" });
                else if (this.connection === signal.connection) this.#act({ type: "rebuildRequested" });
        }
    }

    /**
     * Whether the offer is answered when it is received, unless a newer one comes: it is neither ours to answer, nor
     * late.
     * @param {Signal} offer
     */
    willAnswer(offer) {
        if (this.isOfferer || this.#retired.contains(offer.connection)) return false;
        const state = this.#state;
        if ((state.type === "answering" || state.type === "stable") && state.round.connection === offer.connection)
            return offer.negotiation > state.round.negotiation;
        return offer.negotiation === 1 && this.connection !== offer.connection;
    }

    /** @param {Signal} signal @param {SessionDescription} description */
    #receivedOffer({ connection, negotiation }, description) {
        const state = this.#state;
        const offer = { negotiation, description };
        const isKnown = state.type !== "none" && state.round.connection === connection;
        if (isKnown && state.type === "answering") {
            // Two answers at a time could not be told apart.
            if (negotiation > Math.max(state.round.negotiation, state.next?.negotiation ?? 0)) state.next = offer;
        } else if (isKnown && state.type === "stable") {
            if (negotiation > state.round.negotiation) this.#answer(offer, state.round);
        } else if (isKnown && state.type === "closed" && negotiation <= state.round.negotiation) {
            // Repeated: it would make anew what has ended.
        } else if (negotiation !== 1 || this.connection === connection) {
            // A restart of a connection that is not here (any more).
            this.#signal(connection, negotiation, { type: "rebuildRequest", reason: "unknown connection" });
        } else {
            this.#retire();
            const round = this.#makeRound(connection);
            this.#early = undefined;
            this.#act({ type: "replaced" }, { type: "create", value: connection });
            this.#answer(offer, round);
        }
    }

    /** @param {Offer} offer @param {Round} round */
    #answer(offer, round) {
        round.negotiation = offer.negotiation;
        this.#act({ type: "setRemoteDescription", value0: round.connection, value1: offer.description });
        this.#addEarlyCandidates(round);
        this.#state = { type: "answering", round };
    }

    /** @param {Signal} signal @param {SessionDescription} description */
    #receivedAnswer({ connection, negotiation }, description) {
        const state = this.#state;
        if (state.type !== "offered") return;
        const { round, restartsAfterwards } = state;
        if (round.connection !== connection || round.negotiation !== negotiation) return;
        round.hasAgreed = true;
        this.#act({ type: "setRemoteDescription", value0: connection, value1: description });
        this.#addEarlyCandidates(round);
        this.#state = { type: "stable", round };
        this.#act({ type: "agreed" });
        if (restartsAfterwards) this.#restart(round);
    }

    /** @param {Round} round */
    #addEarlyCandidates(round) {
        for (const candidate of round.early.take(round.negotiation))
            this.#act({ type: "addRemoteCandidate", value0: round.connection, value1: candidate });
    }

    /** @param {PeerCandidate} candidate @param {Signal} signal */
    #receivedCandidate(candidate, { connection, negotiation }) {
        const round = this.#current;
        if (round?.connection !== connection) {
            if (this.isOfferer) return;
            if (this.#early?.connection !== connection)
                this.#early = new EarlyCandidates(connection, this.#candidateLimit);
            this.#early.add(candidate, negotiation);
            return;
        }
        if (negotiation < round.negotiation) return;
        const { type } = this.#state;
        if (type === "offering" || type === "offered" || negotiation > round.negotiation)
            round.early.add(candidate, negotiation);
        else this.#act({ type: "addRemoteCandidate", value0: connection, value1: candidate });
    }
}
