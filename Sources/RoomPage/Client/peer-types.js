//# allFunctionsCalledOnLoad
// The values that the machines of one participant's connection take and return, in the form of CLIENT values: a case
// with values is an object with its name as `type`.

/**
 * @typedef {{ next(): bigint }} Random the raw 64 bits of one random number after the other
 *
 * @typedef {{ urls: string[], username?: string, credential?: string }} ICEServer
 * @typedef {{ kind: "offer" | "answer", text: string }} SessionDescription
 * @typedef {{ text: string, mediaID?: string, mediaLineIndex?: number, usernameFragment?: string }} PeerCandidate
 *   an empty text: no more candidates of this generation follow
 *
 * @typedef {{ type: "description", value: SessionDescription }
 *   | { type: "candidate", value: PeerCandidate }
 *   | { type: "endOfCandidates", usernameFragment: string }
 *   | { type: "restartRequest", reason: string }
 *   | { type: "rebuildRequest", reason: string }} SignalBody
 * @typedef {{ peer: string, session: string, connection: string, negotiation: number, body: SignalBody }} Signal
 *
 * @typedef {{ description: string, code?: string, isRefusal: boolean }} PeerFailure
 *   why a peer connection ended or refused something; `isRefusal`: it is the other side's description that was refused
 * @typedef {{ code: string, message: string, cure: string }} PeerStall
 * @typedef {{
 *     local: string, remote: string, summary: string, localAddress?: string, usernameFragment?: string,
 * }} PeerPath
 *
 * @typedef {"new" | "connecting" | "connected" | "disconnected"} PeerConnectionState
 * @typedef {{ type: "alive" } | { type: "suspect", since: number }} PeerLiveness
 *
 * @typedef {{ type: "localDescription", value: SessionDescription }
 *   | { type: "localCandidate", value: PeerCandidate }
 *   | { type: "endOfLocalCandidates", usernameFragment: string }
 *   | { type: "state", value: PeerConnectionState }
 *   | { type: "channelClosed" }
 *   | { type: "liveness", value: PeerLiveness }
 *   | { type: "checked" }
 *   | { type: "pathChanged", value: PeerPath }
 *   | { type: "dataArrived" }
 *   | { type: "closed", value?: PeerFailure }
 *   | { type: "descriptionRefused", value: PeerFailure }
 *   | { type: "notPrepared", value: PeerFailure }
 *   | { type: "gatheringFailed", value: PeerFailure }
 *   | { type: "diagnosed", value?: PeerStall }
 *   | { type: "unacknowledged" } | { type: "acknowledged" }
 *   | { type: "serverIsBack" } | { type: "leaving" } | { type: "unheard" }} PeerFact
 *
 * @typedef {{ type: "create", isOfferer: boolean, iceServers: ICEServer[] }
 *   | { type: "close" } | { type: "makeOffer" }
 *   | { type: "setRemoteDescription", value: SessionDescription }
 *   | { type: "addRemoteCandidate", value: PeerCandidate }
 *   | { type: "restartPath", iceServers: ICEServer[] }
 *   | { type: "updateICEServers", value: ICEServer[] }
 *   | { type: "probe" } | { type: "diagnose" }
 *   | { type: "sendHint", value: "serverIsBack" | "leaving" | "unheard" }} PeerCommand
 *
 * @typedef {"wait" | "restart" | "rebuild"} RecoveryRung
 * @typedef {string} Cause why something is recovered
 * @typedef {{ kind: string, at: number, cause?: Cause, number?: number, text?: string }} IncidentStep
 * @typedef {{ participant?: string, cause: Cause, startedAt: number, endedAt: number, rung?: RecoveryRung,
 *   outcome: "recovered" | "participantLeft", steps: IncidentStep[] }} RoomIncident
 * @typedef {{ type: "waiting" } | { type: "connecting" } | { type: "connected", value?: PeerPath }
 *   | { type: "recovering", value: RecoveryRung, attempt: number, since: number }} PeerStatus
 *
 * @typedef {{ type: "restart", isSuperseding: boolean, value: Cause } | { type: "rebuild", value: Cause }
 *   | { type: "probe" } | { type: "scheduleTimer", at: number } | { type: "changeStatus", value: PeerStatus }
 *   | { type: "report", value: RoomIncident }} LadderAction
 *   `isSuperseding`: a round that is under way is not waited for
 *
 * @typedef {"recovery" | "stall"} PeerTimerID
 *   `recovery`: the next step of the recovery ladder; `stall`: the next look at why the pair is not connected
 * @typedef {{ type: "command", value0: string, value1: PeerCommand } | { type: "signal", value: Signal }
 *   | { type: "scheduleTimer", value: PeerTimerID, at: number } | { type: "cancelTimer", value: PeerTimerID }
 *   | { type: "changeStatus", value: PeerStatus } | { type: "report", value: RoomIncident }
 *   | { type: "reportStall", value: PeerStall } | { type: "resolveStall", value: PeerStall }} PeerAction
 *
 * @typedef {{ silence: number, probe: number, restart: number, rebuild: number, rebuildWithoutPath: number,
 *   connect: number, absence: number, spread: number, stall: number }} RecoveryBudgets
 * @typedef {{ rejoinPolicy: "all" | "broken" | "none", budgets: RecoveryBudgets, restartBackoff: number,
 *   restartMaximum: number, optionalAttempts: number, restartSpacing: number, networkSpacing: number,
 *   connectMaximum: number, rebuildDelay: number, rebuildDelayMaximum: number, closedBudget: number,
 *   firstDataBudget: number, stallReminder: number, maximumConnecting: number, offerBurst: number,
 *   offerInterval: number, offerBurstOfAll: number, offerIntervalOfAll: number, candidateLimit: number,
 *   timerTolerance: number }} RecoveryConfiguration
 *
 * @typedef {{ id: string, session: string }} Participant what the machines of peers know of a participant
 */

/**
 * @typedef {object} PeerDelivery The part of a `Pair` that a connection serves.
 * @property {boolean} isReady
 * @property {boolean} isLeaving
 * @property {import("./numbered-stream.js").NumberedStreams} [streams]
 * @property {() => void} detached
 * @property {() => void} connected
 * @property {(label: string, parameters: import("./delivery-channel.js").ChannelParameters) => void} channelOpened
 * @property {(label: string) => void} channelClosed
 * @property {(label: string, data: Uint8Array | string) => void} received
 * @property {(label: string) => void} writable
 * @property {(hint: "serverIsBack" | "leaving" | "unheard") => void} sendHint
 *
 * @typedef {object} BrowserPeerOptions
 * @property {ICEServer[]} iceServers
 * @property {"all" | "relay"} icePolicy
 * @property {PeerDelivery} delivery
 * @property {(fact: PeerFact) => void} report
 * @property {() => boolean} [canSignal] Whether a new connection could be agreed on now. By default it could not.
 * @property {() => number} now
 * @property {(after: number, callback: () => void) => () => void} schedule
 * @property {(configuration: RTCConfiguration) => RTCPeerConnection} [create]
 * @property {boolean} [isFailureFinal] A path that has failed does not come back by an ICE restart. By default: in
 *     Firefox.
 */

export {};
