//# allFunctionsCalledOnLoad
import { utf8Length } from "./values.js";
/** @typedef {import("./values.js").ProtocolError} ProtocolError */

/**
 * @param {string} code
 * @param {string} message
 * @returns {ProtocolError}
 */
export const protocolError = (code, message, isFatal = false) => ({ code, message, isRetryable: false, isFatal });

/** The characters that the kinds of strings do not have. */
export const text = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/;
export const line = /[\0-\x1f\x7f]/;
export const token = /[^\x21-\x7e]/;
const identifier = /[^\w-]/;

/** Reads the fields of one object. Throws a `ProtocolError` that names the field. */
export class Fields {
    /**
     * @param {Record<string, any>} members
     * @param {string} path
     */
    constructor(members, path = "") {
        this.members = members;
        this.path = path;
    }

    /**
     * @param {string} name
     * @param {string} problem
     */
    wrong(name, problem) { return protocolError("malformed", `The field ${this.path}${name} ${problem}.`); }

    /**
     * @param {string} name
     * @param {number} limit
     */
    tooMuch(name, limit, unit = "bytes") {
        return protocolError("limit_exceeded", `The field ${this.path}${name} is over its limit of ${limit} ${unit}.`);
    }

    /**
     * Returns the value of a field, undefined when it is absent. `isValid` says whether it has the type.
     * @param {string} name
     * @param {(value: any) => boolean} isValid
     * @param {string} problem
     */
    optional(name, isValid, problem) {
        const value = this.members[name] ?? undefined;
        if (value !== undefined && !isValid(value)) throw this.wrong(name, problem);
        return value;
    }

    /**
     * @template Value
     * @param {string} name
     * @param {Value | undefined} value
     * @returns {Value}
     */
    required(name, value) {
        if (value === undefined) throw this.wrong(name, "is missing");
        return value;
    }

    /**
     * @param {string} name
     * @param {number} limit
     * @returns {string | undefined}
     */
    optionalString(name, limit, forbidden = text, minimum = 0) {
        const value = this.optional(name, (value) => typeof value == "string", "is not a string");
        return value === undefined ? undefined : this.checked(name, value, limit, forbidden, minimum);
    }

    /**
     * @param {string} name
     * @param {string} value
     * @param {number} limit
     * @param {RegExp} forbidden
     * @param {number} minimum
     */
    checked(name, value, limit, forbidden, minimum) {
        if (utf8Length(value) > limit) throw this.tooMuch(name, limit);
        if (value.length < minimum) throw this.wrong(name, "is empty");
        if (forbidden.test(value)) throw this.wrong(name, "has characters that it must not have");
        return value;
    }

    /**
     * @param {string} name
     * @param {number} limit
     */
    string(name, limit, forbidden = text, minimum = 0) {
        return this.required(name, this.optionalString(name, limit, forbidden, minimum));
    }

    /** @param {string} name */
    identifier(name) { return this.string(name, 64, identifier, 1); }

    /**
     * Reads text for people: control characters become U+FFFD.
     * @param {string} name
     * @param {number} limit
     */
    freeText(name, limit) {
        const value = this.optional(name, (value) => typeof value == "string", "is not a string") ?? "";
        return this.checked(name, withoutControls(value), limit, text, 0);
    }

    /**
     * @param {string} name
     * @returns {number | undefined}
     */
    optionalInteger(name, limit = Infinity) {
        const value = this.optional(
            name, (value) => Number.isSafeInteger(value) && value >= 0, "is not a whole number that is not negative");
        if (value > limit) throw this.tooMuch(name, limit, "as a number");
        return value;
    }

    /** @param {string} name */
    integer(name) { return this.required(name, this.optionalInteger(name)); }

    /**
     * @param {string} name
     * @param {boolean} [fallback]
     * @returns {boolean}
     */
    boolean(name, fallback) {
        return this.required(
            name, this.optional(name, (value) => typeof value == "boolean", "is neither true nor false") ?? fallback);
    }

    /**
     * @param {string} name
     * @returns {number | undefined}
     */
    optionalDuration(name) {
        const value = this.optional(name, (value) => typeof value == "number", "is not a number");
        if (value < 0) throw this.wrong(name, "is negative");
        if (value > 31622400) throw this.tooMuch(name, 31622400, "seconds");
        return value && Math.round(value * 1e6) / 1e6;
    }

    /** @param {string} name */
    duration(name) { return this.required(name, this.optionalDuration(name)); }

    /** @param {string} name */
    optionalObject(name) {
        const value = this.optional(name, isObject, "is not an object");
        return value && new Fields(value, `${this.path}${name}.`);
    }

    /**
     * @param {string} name
     * @returns {Fields}
     */
    object(name) { return this.required(name, this.optionalObject(name)); }

    /**
     * @param {string} name
     * @param {number} count
     * @returns {any[] | undefined}
     */
    array(name, count) {
        const value = this.optional(name, Array.isArray, "is not an array");
        if (value?.length > count) throw this.tooMuch(name, count, "entries");
        return value;
    }

    /**
     * Reads an array of strings. An absent one is empty.
     * @param {string} name
     * @param {number} count
     * @param {number} limit
     */
    strings(name, count, limit) {
        return (this.array(name, count) ?? []).map((value, index) => {
            if (typeof value != "string") throw this.wrong(`${name}[${index}]`, "is not a string");
            return this.checked(`${name}[${index}]`, value, limit, token, 1);
        });
    }

    /**
     * @template Value
     * @param {string} name
     * @param {number} count
     * @param {(fields: Fields) => Value} read
     */
    objects(name, count, read) {
        return this.required(name, this.array(name, count)).map((value, index) => {
            if (!isObject(value)) throw this.wrong(`${name}[${index}]`, "is not an object");
            return read(new Fields(value, `${this.path}${name}[${index}].`));
        });
    }

    /** @returns {Record<string, string>} */
    metadata(name = "metadata") {
        const entries = Object.entries(this.optionalObject(name)?.members ?? {});
        if (entries.length > 16) throw this.tooMuch(name, 16, "entries");
        let total = 0;
        const result = entries.map(([key, value]) => {
            if (typeof value != "string") throw this.wrong(name, "has a value that is not a string");
            const shown = withoutControls(value);
            const [keyLength, length] = [utf8Length(key), utf8Length(shown)];
            if (keyLength > 64) throw this.tooMuch(name, 64, "bytes for a key");
            if (!key || line.test(key)) throw this.wrong(name, "has a key that is empty or has control characters");
            if (length > 1024) throw this.tooMuch(name, 1024, "bytes for a value");
            total += keyLength + length;
            return [key, shown];
        });
        if (total > 4096) throw this.tooMuch(name, 4096, "bytes in all");
        return Object.fromEntries(result);
    }
}

/** @param {string} value */
const withoutControls = (value) => value.replace(new RegExp(text, "g"), "\ufffd");

/** @param {any} value */
export const isObject = (value) => typeof value == "object" && !!value && !Array.isArray(value);
