//# allFunctionsCalledOnLoad
// @ts-check
/** @typedef {import("./room.js").SendReport} SendReport */

/**
 * An error that programs tell by its code.
 * @template {string} Code
 */
class CodedError extends Error {
    /**
     * @param {string} name the name of the class
     * @param {Code} code the kind of the failure: what programs look at
     * @param {string} message one sentence for people: what happened, to what, and what to do
     */
    constructor(name, code, message) {
        super(message);
        this.name = name;
        this.code = code;
    }
}

/**
 * Why a call on a room failed.
 * @extends {CodedError<import("./room.js").RoomError["code"]>}
 */
export class RoomError extends CodedError {
    /**
     * @param {import("./room.js").RoomError["code"]} code
     * @param {string} message
     * @param {{ protocolCode?: string, isRetryable?: boolean, report?: SendReport }} details
     */
    constructor(code, message, { protocolCode, isRetryable = false, report } = {}) {
        super("RoomError", code, message);
        this.protocolCode = protocolCode;
        this.isRetryable = isRetryable;
        this.report = report;
    }
}

/**
 * A failure that a request handler reports to the caller on purpose.
 * @extends {CodedError<string>}
 */
export class RequestFailure extends CodedError {
    /**
     * @param {string} code the application's own code, 1 to 64 bytes
     * @param {string} [message] one sentence for people, at most 1024 bytes
     */
    constructor(code, message = "") {
        super("RequestFailure", code, message);
    }
}

/**
 * The reason why a request has no answer.
 * @extends {CodedError<import("./room.js").RequestError["code"]>}
 */
export class RequestError extends CodedError {
    /**
     * @param {import("./room.js").RequestError["code"]} code
     * @param {string} method
     * @param {string} participant who was asked
     * @param {string} message
     * @param {RequestFailure} [failure] the handler's own code and message; only for `refused`
     */
    constructor(code, method, participant, message, failure) {
        super("RequestError", code, message);
        this.method = method;
        this.participant = participant;
        this.failure = failure;
    }
}

/**
 * Why a stream has failed.
 * @extends {CodedError<import("./room.js").RoomStreamError["code"]>}
 */
export class RoomStreamError extends CodedError {
    /**
     * @param {import("./room.js").RoomStreamError["code"]} code
     * @param {string} message
     * @param {string} [reason] the code that the side that gave the stream up has sent
     */
    constructor(code, message, reason = "") {
        super("RoomStreamError", code, message);
        this.reason = reason;
    }
}
