/** Small helpers for the elements of the page. Text is always text, never markup. */
import { hue, initial } from "./text.js";

/** @type {(id: string) => any} */
export const byID = (id) => document.getElementById(id);

/**
 * Creates an element.
 * @param {string} tag
 * @param {Record<string, any>} [properties] Of the element; `aria-…`, `data-…`, `role` and `for` are attributes.
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {any}
 */
export function element(tag, properties = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
        if (value === undefined) continue;
        if (name.includes("-") || name === "role" || name === "for") made.setAttribute(name, value);
        else /** @type {any} */ (made)[name] = value;
    }
    made.append(.../** @type {any} */ (children.filter((child) => child || child === "")));
    return made;
}

const SVG = "http://www.w3.org/2000/svg";

/**
 * Creates an element of SVG.
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 * @param {...Node} children
 */
export function drawing(tag, attributes, ...children) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
    made.append(...children);
    return made;
}

/**
 * Sets a text where it has changed, so that nothing is announced or drawn again.
 * @param {any} node
 * @param {string} text
 */
export function setText(node, text) {
    if (node.textContent !== text) node.textContent = text;
}

/**
 * Puts nodes into a parent in this order, and removes all others. Nodes that are in place are not touched.
 * @param {Element} parent
 * @param {Node[]} nodes
 */
export function arrange(parent, nodes) {
    nodes.forEach((node, index) => {
        if (parent.childNodes[index] !== node) parent.insertBefore(node, parent.childNodes[index] || null);
    });
    while (parent.childNodes.length > nodes.length) /** @type {ChildNode} */ (parent.lastChild).remove();
}

/**
 * A picture of a person.
 * @param {string} name
 */
export function avatar(name) {
    const made = element("span", { className: "avatar", "aria-hidden": "true" }, initial(name));
    made.style.setProperty("--hue", hue(name));
    return made;
}

/**
 * A time of day.
 * @param {number} milliseconds Since 1970.
 */
export function clock(milliseconds, seconds = false) {
    return new Date(milliseconds).toLocaleTimeString([], {
        hour: "2-digit", minute: "2-digit", second: seconds ? "2-digit" : undefined,
    });
}

/** Seconds of `performance.now()`. */
export const now = () => performance.now() / 1000;

/** Milliseconds since 1970 of a time on the clock of `performance.now()`. */
export const dateOf = (/** @type {number} */ at) => Date.now() - (now() - at) * 1000;
