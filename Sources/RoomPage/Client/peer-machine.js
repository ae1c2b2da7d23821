//# allFunctionsCalledOnLoad
import { Agenda } from "./agenda.js";
import { NegotiationMachine } from "./negotiation-machine.js";
import { hasLost } from "./network-change.js";
import { RecoveryLadder } from "./recovery-ladder.js";
import { RelayRenewal } from "./relay-renewal.js";
import { StallMachine } from "./stall-machine.js";
import { StallObstacle, stalls } from "./stall-obstacle.js";

/** @typedef {import("./negotiation-machine.js").NegotiationAction} NegotiationAction */
/** @typedef {import("./peer-types.js").Cause} Cause */
/** @typedef {import("./peer-types.js").ICEServer} ICEServer */
/** @typedef {import("./peer-types.js").Participant} Participant */
/** @typedef {import("./peer-types.js").PeerAction} PeerAction */
/** @typedef {import("./peer-types.js").PeerCommand} PeerCommand */
/** @typedef {import("./peer-types.js").PeerFact} PeerFact */
/** @typedef {import("./peer-types.js").Random} Random */
/** @typedef {import("./peer-types.js").Signal} Signal */
/** @typedef {import("./peer-types.js").LadderAction} LadderAction */
/** @typedef {import("./stall-machine.js").StallAction} StallAction */

/** The machine of one other participant: its negotiation, its recovery and its stalls, put together. */
export class PeerMachine {
    #negotiation;
    #ladder;
    #stall;
    #obstacle = new StallObstacle();
    #relay;
    #iceServers;
    /** @type {import("./peer-types.js").PeerPath | undefined} */
    #path;
    /**
     * The decisions of the parts that are to be carried out.
     * @type {Agenda<() => void>}
     */
    #agenda = new Agenda();
    /** @type {PeerAction[]} */
    #actions = [];
    // Of the present call.
    #now = 0;
    #isSignalingUp = true;
    /** @type {Random} */
    #random = { next: () => 0n };

    /**
     * The offerer is the one with the smaller id.
     * @param {Participant} participant @param {string} us
     * @param {import("./peer-types.js").RecoveryConfiguration} configuration
     * @param {ICEServer[]} iceServers @param {number} [iceServersAt]
     */
    constructor(participant, us, configuration, iceServers, iceServersAt) {
        this.participant = participant;
        this.#iceServers = iceServers;
        const isOfferer = us < participant.id;
        this.#negotiation = new NegotiationMachine(isOfferer, configuration.candidateLimit);
        this.#ladder = new RecoveryLadder(configuration, participant.id, isOfferer);
        this.#stall = new StallMachine(configuration);
        this.#relay = new RelayRenewal(iceServersAt);
    }

    get isOfferer() { return this.#negotiation.isOfferer; }
    get status() { return this.#ladder.status; }
    get isRecovering() { return this.status.type === "recovering"; }
    get isConnected() { return this.status.type === "connected"; }
    /** Its turn to connect has not come. */
    get isIdle() { return this.#ladder.isIdle; }
    /** It holds one of the places for those who connect at a time. */
    get isConnectingFirst() { return this.isOfferer && this.#ladder.isConnectingFirst; }
    get connection() { return this.#negotiation.connection; }

    /**
     * Whether the offer leads to a new connection. See `OfferPace`.
     * @param {Signal} offer
     */
    willAnswer(offer) {
        return offer.session === this.participant.session && this.#negotiation.willAnswer(offer);
    }

    /**
     * Lets `body` decide, and returns what follows from it.
     * @param {number} now @param {Random | undefined} random @param {() => void} body
     */
    #run(now, random, body) {
        this.#now = now;
        if (random) this.#random = random;
        body();
        this.#drain();
        return this.#actions.splice(0);
    }

    #drain() { for (let step; (step = this.#agenda.next()); ) step(); }

    // The participant

    /**
     * The participant is in the room: from now on it is to be connected.
     * @param {number} now @param {Random} random
     */
    appeared(now, random) { return this.#run(now, random, () => this.#stallSays(this.#stall.disconnected(now))); }

    /** @param {number} now @param {Random} random */
    begin(now, random) {
        return this.#run(now, random, () => {
            if (!this.isIdle) return;
            this.#ladderSays(this.#ladder.begin(now));
            if (this.isOfferer) this.#negotiationSays(this.#negotiation.rebuild("", random));
        });
    }

    /** @param {Participant} participant */
    changed(participant) { this.participant = participant; }

    /** @param {Signal} signal @param {number} now @param {Random} random */
    received(signal, now, random) {
        return this.#run(now, random, () => {
            if (signal.session !== this.participant.session) return;
            this.#obstacle.received(signal.body);
            this.#negotiationSays(this.#negotiation.received(signal));
            this.#renewRelay();
        });
    }

    /** @param {boolean} isReachable @param {number} now @param {Random} random */
    setReachable(isReachable, now, random) {
        return this.#run(now, random, () => this.#ladderSays(this.#ladder.setReachable(isReachable, now)));
    }

    /** @param {Cause} cause @param {number} now @param {Random} random */
    rejoined(cause, now, random) {
        return this.#run(now, random, () => this.#ladderSays(this.#ladder.rejoined(cause, now, random)));
    }

    /**
     * The participant has left, or this side has.
     * @param {number} now @param {Random} random
     */
    end(now, random) {
        return this.#run(now, random, () => {
            this.#negotiationSays(this.#negotiation.close());
            this.#ladderSays(this.#ladder.end(now));
            this.#drain();
            this.#actions.push({ type: "cancelTimer", value: "recovery" }, { type: "cancelTimer", value: "stall" });
        });
    }

    // The connection

    /** @param {PeerFact} fact @param {string} connection @param {number} now @param {Random} random */
    handle(fact, connection, now, random) {
        return this.#run(now, random, () => {
            if (connection !== this.connection) return;
            this.#handle(fact, connection, now);
            this.#renewRelay();
        });
    }

    /** @param {PeerFact} fact @param {string} connection @param {number} now */
    #handle(fact, connection, now) {
        const negotiation = this.#negotiation;
        const ladder = this.#ladder;
        this.#obstacle.told(fact);
        switch (fact.type) {
            case "localDescription": return this.#negotiationSays(negotiation.localDescription(fact.value));
            case "localCandidate":
                this.#relay.fragment = fact.value.usernameFragment ?? this.#relay.fragment;
                return this.#negotiationSays(negotiation.localCandidate(fact.value));
            case "endOfLocalCandidates":
                this.#relay.fragment = fact.usernameFragment;
                return this.#negotiationSays(negotiation.endOfLocalCandidates(fact.usernameFragment));
            case "state": return this.#ladderSays(ladder.stateChanged(fact.value, now));
            case "channelClosed": return this.#ladderSays(ladder.channelClosed(now));
            case "liveness":
                this.#ladderSays(ladder.livenessChanged(fact.value, now));
                // It may hear this side all the same, and then cannot know that its packets go nowhere.
                if (fact.value.type === "suspect")
                    this.#agenda.add(() => this.#command(connection, { type: "sendHint", value: "unheard" }));
                break;
            case "pathChanged": return this.#pathChanged(fact.value, now);
            case "closed":
                negotiation.connectionClosed();
                return this.#ladderSays(ladder.closed(fact.value, now));
            case "descriptionRefused":
                this.#negotiationSays(negotiation.descriptionRefused());
                return this.#ladderSays(ladder.descriptionRefused(now));
            case "notPrepared": {
                const { value, actions } = negotiation.notPrepared();
                this.#negotiationSays(actions);
                return this.#ladderSays(ladder.notPrepared(value, now));
            }
            case "checked": return ladder.checked(now);
            case "dataArrived": return this.#ladderSays(ladder.dataArrived(now));
            case "diagnosed":
                return this.#stallSays(this.#stall.found(
                    fact.value ?? (this.isConnected ? stalls.notAcknowledged : stalls.notConnected), now));
            case "unacknowledged": return this.#stallSays(this.#stall.unacknowledged(now));
            case "acknowledged": return this.#stallSays(this.#stall.acknowledged());
        }
    }

    /** @param {import("./peer-types.js").PeerPath} path @param {number} now */
    #pathChanged(path, now) {
        this.#path = path;
        const isLatest = this.#relay.pathFound(path);
        this.#ladderSays(this.#ladder.pathChanged(path, isLatest, now));
        if (isLatest) this.#ladderSays(this.#ladder.cancelPlan("relayCredentials"));
    }

    /**
     * A message over the connection, if it works.
     * @param {"serverIsBack" | "leaving" | "unheard"} hint @returns {PeerAction[]}
     */
    sendHint(hint) {
        const connection = this.connection;
        if (connection === undefined || !this.isConnected) return [];
        return [{ type: "command", value0: connection, value1: { type: "sendHint", value: hint } }];
    }

    /**
     * `isSignalingUp`: the room server is reached.
     * @param {import("./peer-types.js").PeerTimerID} timer @param {boolean} isSignalingUp
     * @param {number} now @param {Random} random
     */
    timerFired(timer, isSignalingUp, now, random) {
        return this.#run(now, random, () => {
            if (timer === "recovery") {
                this.#ladderSays(this.#ladder.timerFired(now));
                this.#renewRelay();
            } else {
                this.#stallSays(this.#stall.timerFired(now));
                this.#isSignalingUp = isSignalingUp;
                this.#drain();
                this.#isSignalingUp = true;
            }
        });
    }

    // This side

    /**
     * The application asks for a new path.
     * @param {number} now @param {Random} random
     */
    restart(now, random) {
        return this.#run(now, random, () => this.#ladderSays(this.#ladder.restartRequested("requested", now)));
    }

    /** @param {Cause} cause @param {number} now @param {Random} random */
    checkPath(cause, now, random) {
        return this.#run(now, random, () => this.#ladderSays(this.#ladder.checkPath(cause, now)));
    }

    /**
     * This machine has slept for `sleep`.
     * @param {number} sleep @param {number} now @param {Random} random
     */
    woke(sleep, now, random) {
        return this.#run(now, random, () => {
            this.#relay.woke(sleep);
            this.#ladderSays(this.#ladder.woke(now));
            this.#drain();
            this.#stallSays(this.#stall.woke(now));
        });
    }

    /**
     * @param {import("./network-change.js").NetworkChange} change @param {boolean} isOther @param {number} now
     * @param {Random} random
     */
    networkChanged(change, isOther, now, random) {
        const isLost = hasLost(change, this.#path?.localAddress);
        return this.#run(now, random, () => this.#ladderSays(this.#ladder.networkChanged(isLost, isOther, now)));
    }

    /**
     * There are fresh ICE servers, valid for `ttl`.
     * @param {ICEServer[]} servers @param {number | undefined} ttl @param {number} now @param {Random} random
     */
    iceServersChanged(servers, ttl, now, random) {
        return this.#run(now, random, () => {
            this.#iceServers = servers;
            this.#relay.serversChanged(ttl, now);
            if (this.connection === undefined) return;
            this.#commandLatest({ type: "updateICEServers", value: servers });
            this.#renewRelay();
        });
    }

    /** Plans a new path where the present one uses relays whose credentials are old. */
    #renewRelay() {
        this.#drain();
        if (this.#path?.local !== "relay" || !this.#ladder.canPlan) return;
        const earliest = this.#relay.earliest(this.#now);
        if (earliest !== undefined) this.#ladderSays(this.#ladder.plan("relayCredentials", earliest, this.#random));
    }

    // The parts

    /** @param {NegotiationAction[]} actions */
    #negotiationSays(actions) {
        for (const action of actions) this.#agenda.add(() => this.#performNegotiation(action));
    }

    /** @param {LadderAction[]} actions */
    #ladderSays(actions) { for (const action of actions) this.#agenda.add(() => this.#performLadder(action)); }

    /** @param {StallAction[]} actions */
    #stallSays(actions) { for (const action of actions) this.#agenda.add(() => this.#performStall(action)); }

    /** @param {PeerAction} action */
    #act(action) { this.#actions.push(action); }

    /** @param {string} connection @param {PeerCommand} command */
    #command(connection, command) { this.#act({ type: "command", value0: connection, value1: command }); }

    /** @param {PeerCommand} command To the connection, where there is one. */
    #commandLatest(command) { if (this.connection !== undefined) this.#command(this.connection, command); }

    /** @param {LadderAction} action */
    #performLadder(action) {
        const negotiation = this.#negotiation;
        switch (action.type) {
            case "restart":
                if (action.value === "relayCredentials") this.#relay.renewed(this.#now);
                return this.#negotiationSays(negotiation.restart(action.isSuperseding, action.value, this.#random));
            case "rebuild": return this.#negotiationSays(negotiation.rebuild(action.value, this.#random));
            case "probe": return this.#commandLatest({ type: "probe" });
            case "scheduleTimer": return this.#act({ type: "scheduleTimer", value: "recovery", at: action.at });
            case "changeStatus":
                this.#act(action);
                if (action.value.type === "connected") {
                    this.#obstacle = new StallObstacle();
                    this.#stallSays(this.#stall.connected(this.#now));
                } else this.#stallSays(this.#stall.disconnected(this.#now));
                break;
            case "report": this.#act(action);
        }
    }

    /** @param {NegotiationAction} action */
    #performNegotiation(action) {
        const ladder = this.#ladder;
        const now = this.#now;
        switch (action.type) {
            case "create":
                this.#path = undefined;
                this.#obstacle.madeAt = now;
                this.#relay.roundBegan(now);
                // It concerned data of the connection before.
                this.#stallSays(this.#stall.acknowledged());
                return this.#agenda.add(() => this.#command(
                    action.value, { type: "create", isOfferer: this.isOfferer, iceServers: this.#iceServers }));
            case "close": case "makeOffer": return this.#command(action.value, { type: action.type });
            case "restartPath":
                this.#relay.roundBegan(now);
                return this.#command(action.value, { type: "restartPath", iceServers: this.#iceServers });
            case "setRemoteDescription":
                if (!this.isOfferer) this.#relay.roundAnswered();
                return this.#command(action.value0, { type: action.type, value: action.value1 });
            case "addRemoteCandidate":
                return this.#command(action.value0, { type: action.type, value: action.value1 });
            case "signal": {
                const { id: peer, session } = this.participant;
                const { value0: connection, value1: negotiation, value2: body } = action;
                return this.#act({ type: "signal", value: { peer, session, connection, negotiation, body } });
            }
            case "replaced": return this.#ladderSays(ladder.replaced(now));
            case "described":
                this.#obstacle.describedAt = now;
                return ladder.described(now);
            case "gathered": return ladder.gathered(now);
            case "agreed": return this.#ladderSays(ladder.agreed(now));
            case "restartRequested": return this.#ladderSays(ladder.restartRequested("requestedByPeer", now));
            case "rebuildRequested": return this.#ladderSays(ladder.rebuildRequested(false, now));
            case "connectionRequested": return this.#ladderSays(ladder.rebuildRequested(true, now));
        }
    }

    /** @param {StallAction} action */
    #performStall(action) {
        switch (action.type) {
            case "inquire": return this.#inquire();
            case "scheduleTimer": return this.#act({ type: "scheduleTimer", value: "stall", at: action.at });
            case "cancelTimer": return this.#act({ type: "cancelTimer", value: "stall" });
            case "report": return this.#act({ type: "reportStall", value: action.value });
            case "resolve": return this.#act({ type: "resolveStall", value: action.value });
        }
    }

    /** Looks for the reason of a stall. Where this machine does not know it, the transport is asked. */
    #inquire() {
        const { isReachable, isIdle, isHeld } = this.#ladder;
        const { progress } = this.#negotiation;
        const situation = { isSignalingUp: this.#isSignalingUp, isReachable, isIdle, isHeld, progress };
        const reason = this.isConnected ? undefined : this.#obstacle.reason(situation, this.#now);
        if (reason) this.#stallSays(this.#stall.found(reason, this.#now));
        else this.#commandLatest({ type: "diagnose" });
    }
}
