//# allFunctionsCalledOnLoad
import { minus, plus } from "./time.js";

/**
 * The credential of one participant: when the provider is asked for another one, and whether another one would help.
 */
export class SignalingCredential {
    #hasProvider;
    #margin;
    /** @type {number | undefined} */
    #expiresAt;
    #isFetched = false;
    #mustForce = false;
    /**
     * When a forced one came that has not let this participant in yet.
     * @type {number | undefined}
     */
    #forcedAt;
    /**
     * The last one that was refused.
     * @type {string | undefined}
     */
    #refusedToken;

    /**
     * @param {string | undefined} token
     * @param {boolean} hasProvider
     * @param {number} margin
     */
    constructor(token, hasProvider, margin) {
        this.#hasProvider = hasProvider;
        this.#margin = margin;
        /** A secret. */
        this.token = token;
        /** A forced one is being fetched. */
        this.isForcing = false;
    }

    /**
     * Whether the provider is to be asked before the next attempt.
     * @param {number} now
     */
    mustBeFetched(now) {
        if (!this.#hasProvider) return false;
        if (this.#mustForce || (this.token === undefined && !this.#isFetched)) return true;
        return this.#expiresAt !== undefined && plus(now, this.#margin) >= this.#expiresAt;
    }

    /** The provider is asked. One that was refused must not come from a cache again. */
    requested() { this.isForcing = this.#mustForce; }

    /**
     * @param {string | undefined} token
     * @param {number | undefined} expiresAt
     * @param {number} now
     */
    arrived(token, expiresAt, now) {
        this.token = token;
        this.#expiresAt = expiresAt;
        this.#isFetched = true;
        if (!this.isForcing) return;
        this.isForcing = false;
        this.#mustForce = false;
        this.#forcedAt = now;
    }

    /** The server has let this participant in. */
    accepted() {
        this.#forcedAt = undefined;
        this.#refusedToken = undefined;
    }

    /**
     * The server has refused the credential. Another one does not help where a new one was refused, for another reason
     * than its age, or where the provider has no newer one than the one that is too old.
     * @param {boolean} isTooOld
     * @param {number} now
     * @returns {"atOnce" | "later" | "useless"}
     */
    refused(isTooOld, now) {
        const isNew = this.#forcedAt !== undefined && minus(now, this.#forcedAt) <= this.#margin;
        if (!this.#hasProvider || (isNew && !(isTooOld && this.token !== this.#refusedToken))) return "useless";
        this.#refusedToken = this.token;
        this.#mustForce = true;
        return isNew ? "later" : "atOnce";
    }

    /**
     * This machine has slept, and the credential has aged.
     * @param {number} sleep
     */
    woke(sleep) { if (this.#expiresAt !== undefined) this.#expiresAt = minus(this.#expiresAt, sleep); }
}
