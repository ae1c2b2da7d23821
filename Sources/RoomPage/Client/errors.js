//# allFunctionsCalledOnLoad
// @ts-check
/** @typedef {import("./room.js").SendReport} SendReport */

/** Why a call on a room failed. */
export class RoomError extends Error {
    /**
     * @param {import("./room.js").RoomError["code"]} code the kind of the failure: what programs look at
     * @param {string} message one sentence: what happened, to what, and what to do
     * @param {{ protocolCode?: string, isRetryable?: boolean, report?: SendReport }} details
     */
    constructor(code, message, { protocolCode, isRetryable = false, report } = {}) {
        super(message);
        this.name = "RoomError";
        this.code = code;
        this.protocolCode = protocolCode;
        this.isRetryable = isRetryable;
        this.report = report;
    }
}

/** A failure that a request handler reports to the caller on purpose. */
export class RequestFailure extends Error {
    /**
     * @param {string} code the application's own code, 1 to 64 bytes
     * @param {string} [message] one sentence for people, at most 1024 bytes
     */
    constructor(code, message = "") {
        super(message);
        this.name = "RequestFailure";
        this.code = code;
    }
}

/** The reason why a request has no answer. */
export class RequestError extends Error {
    /**
     * @param {import("./room.js").RequestError["code"]} code the kind of the failure: what programs look at
     * @param {string} method
     * @param {string} participant who was asked
     * @param {string} message
     * @param {RequestFailure} [failure] the handler's own code and message; only for `refused`
     */
    constructor(code, method, participant, message, failure) {
        super(message);
        this.name = "RequestError";
        this.code = code;
        this.method = method;
        this.participant = participant;
        this.failure = failure;
    }
}

/** Why a stream has failed. */
export class RoomStreamError extends Error {
    /**
     * @param {import("./room.js").RoomStreamError["code"]} code the kind of the failure: what programs look at
     * @param {string} message
     * @param {string} [reason] the code that the side that gave the stream up has sent
     */
    constructor(code, message, reason = "") {
        super(message);
        this.name = "RoomStreamError";
        this.code = code;
        this.reason = reason;
    }
}
