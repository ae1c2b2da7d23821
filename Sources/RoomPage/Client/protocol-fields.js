//# allFunctionsCalledOnLoad
import { utf8Length } from "./values.js";
/**
 * Readers of JSON. A reader takes a value, undefined where it is absent, and its path; for a field also the object that
 * it is in. It returns the value as the machines have it, or throws a `ProtocolError` that names the field.
 * @typedef {(value: any, path: string, members?: any) => any} Reader
 * @typedef {import("./values.js").ProtocolError} ProtocolError
 */

/**
 * @param {string} code
 * @param {string} message
 * @returns {ProtocolError}
 */
export const protocolError = (code, message, isFatal = false) => ({ code, message, isRetryable: false, isFatal });

/** @param {string} path */
export const wrong = (path) => protocolError("malformed", `The field ${path} is missing or malformed.`);

/** @param {string} path @param {number} limit */
const tooMuch = (path, limit, unit = " bytes") =>
    protocolError("limit_exceeded", `The field ${path} is over its limit of ${limit}${unit}.`);

/** The characters that the kinds of strings do not have. */
const text = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/;
export const line = /[\0-\x1f\x7f]/;
export const token = /[^\x21-\x7e]/;

/** @param {string} value */
const withoutControls = (value) => value.replace(new RegExp(text, "g"), "\ufffd");

/** @param {any} value */
export const isObject = (value) => typeof value == "object" && !!value && !Array.isArray(value);

/**
 * @param {(value: any) => boolean} isValid
 * @returns {Reader}
 */
const checked = (isValid) => (value, path) => {
    if (isValid(value)) return value;
    throw wrong(path);
};

/**
 * @param {Reader} read
 * @param {any} [fallback]
 * @returns {Reader}
 */
export const optional = (read, fallback) => (value, path) => value === undefined ? fallback : read(value, path);

export const boolean = checked((value) => typeof value == "boolean");
export const integer = checked((value) => Number.isSafeInteger(value) && value >= 0);
const number = checked((value) => typeof value == "number" && value >= 0);
const anyString = checked((value) => typeof value == "string");

/**
 * @param {Reader} read
 * @param {number} limit
 * @returns {Reader}
 */
export const upTo = (read, limit) => (value, path) => {
    if (read(value, path) <= limit) return value;
    throw tooMuch(path, limit, "");
};

const seconds = upTo(number, 31622400);

/** @type {Reader} In whole microseconds. */
export const duration = (value, path) => Math.round(seconds(value, path) * 1e6) / 1e6;

/**
 * @param {number} limit bytes
 * @returns {Reader}
 */
export const string = (limit, forbidden = text, minimum = 1) => (value, path) => {
    if (utf8Length(anyString(value, path)) > limit) throw tooMuch(path, limit);
    if (value.length < minimum || forbidden.test(value)) throw wrong(path);
    return value;
};

export const identifier = string(64, /[^\w-]/);

/**
 * Text for people: control characters become U+FFFD. An absent one is empty.
 * @param {number} limit
 * @returns {Reader}
 */
export const freeText = (limit) => (value = "", path) =>
    string(limit, text, 0)(withoutControls(anyString(value, path)), path);

/**
 * @param {number} limit
 * @param {Reader} read
 * @returns {Reader}
 */
export const array = (limit, read) => (value, path) => {
    if (!Array.isArray(value)) throw wrong(path);
    if (value.length > limit) throw tooMuch(path, limit, " entries");
    return value.map((element, index) => read(element, `${path}[${index}]`));
};

/**
 * An object with these fields: the reader of each, and the name that it has in JSON where that is another one.
 * @param {Record<string, Reader | [Reader, string]>} fields
 * @returns {Reader}
 */
export const object = (fields) => (members, path) => {
    if (!isObject(members)) throw wrong(path);
    return Object.fromEntries(Object.entries(fields).map(([key, field]) => {
        const [read, name = key] = /** @type {[Reader, string?]} */ ([field].flat());
        return [key, read(members[name] ?? undefined, path ? `${path}.${name}` : name, members)];
    }));
};

/** @type {Reader} Metadata or attributes. Absent ones are empty. */
export const metadata = (value = {}, path) => {
    if (!isObject(value)) throw wrong(path);
    const entries = Object.entries(value);
    if (entries.length > 16) throw tooMuch(path, 16, " entries");
    let total = 0;
    const shownEntries = entries.map(([key, member]) => {
        const shown = withoutControls(anyString(member, path));
        string(64, line)(key, path);
        string(1024, text, 0)(shown, path);
        total += utf8Length(key + shown);
        return [key, shown];
    });
    if (total > 4096) throw tooMuch(path, 4096);
    return Object.fromEntries(shownEntries);
};
