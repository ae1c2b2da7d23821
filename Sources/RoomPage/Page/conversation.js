/** The conversation of a room: what everybody says, notes, and how much of it was not seen. */
import { avatar, byID, clock, element, setText } from "./dom.js";
import { shownName } from "./text.js";

/**
 * Frees the files whose links go away.
 * @param {any} node
 */
function release(node) {
    for (const link of node.querySelectorAll("a[href^='blob:']")) URL.revokeObjectURL(link.href);
}

/** The log of the conversation. */
export class Conversation {
    /** @type {{ from: string, to: string, at: number, list: any } | undefined} */
    #last;
    /** Messages since the page, or the conversation in it, was last seen. */
    #unread = 0;
    #unseen = 0;
    #roomName = "";
    #ownName = "";

    /** @param {(id: string) => string} nameOf */
    constructor(nameOf) { this.nameOf = nameOf; }

    /**
     * This person is in a room.
     * @param {string} roomName @param {string} ownName
     */
    begin(roomName, ownName) {
        this.#roomName = roomName;
        this.#ownName = ownName;
        this.#unread = 0;
        release(byID("log"));
        byID("log").replaceChildren();
    }

    /** This person has left the room. */
    end() { this.#roomName = ""; }

    /** The page is seen. */
    pageShown() {
        this.#unread = 0;
        document.title = shownName(this.#roomName);
    }

    /** The conversation is seen. */
    shown() {
        this.#unseen = 0;
        setText(byID("view-talk"), "Conversation");
    }

    /** @param {any} entry */
    #append(entry) {
        const log = byID("log");
        log.append(entry);
        while (log.childElementCount > 1000) {
            release(log.firstElementChild);
            log.firstElementChild.remove();
        }
    }

    /** Keeps the end of the conversation in view, unless the person has scrolled up. */
    followEnd() {
        const log = byID("log");
        let isAtEnd = true;
        const toEnd = () => { if (isAtEnd) log.scrollTop = log.scrollHeight; };
        log.onscroll = () => { isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40; };
        new MutationObserver(toEnd).observe(log, { childList: true, subtree: true });
        // Pictures, and the keyboard of a phone.
        log.addEventListener("load", toEnd, true);
        new ResizeObserver(toEnd).observe(log);
    }

    /** @param {string} text @param {string} [kind] */
    note(text, kind = "") { this.#append(element("li", { className: `note ${kind}` }, text)); }

    /**
     * @param {string} from An id, or empty for this person.
     * @param {string} to A name, or empty for everybody.
     * @param {Node} content
     */
    say(from, to, content) {
        const at = Date.now();
        const line = element("div", { className: "line" }, content);
        const last = this.#last;
        const isSame = last && last.from === from && last.to === to && at - last.at < 120_000
            && last.list.parentElement === byID("log").lastElementChild && last.list.childElementCount < 50;
        if (isSame && last) {
            last.at = at;
            last.list.append(line);
        } else {
            const name = from ? this.nameOf(from) : "You";
            const list = element("div", { className: "bubble" },
                element("p", { className: "by" }, element("strong", {}, name), to ? ` to ${to} only` : "", " ",
                    element("time", {}, clock(at))), line);
            const className = from ? "entry" : "entry mine";
            this.#append(element("li", { className }, avatar(from ? name : this.#ownName), list));
            this.#last = { from, to, at, list };
        }
        if (from && document.hidden) {
            this.#unread++;
            document.title = `(${this.#unread}) ${shownName(this.#roomName)}`;
        }
        if (from && byID("room").dataset.view === "people") {
            this.#unseen++;
            setText(byID("view-talk"), `Conversation (${this.#unseen})`);
        }
        return line;
    }
}
