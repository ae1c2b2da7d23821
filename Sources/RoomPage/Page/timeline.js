/**
 * The life of one connection: a strip of the last minutes with the round trips above it, and the incidents with their
 * steps.
 */
import { clock, dateOf, drawing, element, now, setText } from "./dom.js";
import { causeText, duration, stepText } from "./text.js";

/** Seconds that a strip shows. */
const SPAN = 180;
const HEIGHT = 40;
const BAR = 6;
/** Incidents that are kept. */
const LIMIT = 50;

const RUNGS = { wait: "waited", restart: "new path", rebuild: "new connection" };

export class Timeline {
    /** @param {string} of Whose connection it is, for screen readers. */
    constructor(of) {
        this.of = of;
        /** @type {{ at: number, state: string }[]} The changes of the state, the oldest first. */
        this.changes = [];
        /** @type {{ at: number, value: number }[]} */
        this.roundTrips = [];
        /** @type {import("../client/room.js").RoomIncident[]} The newest first. */
        this.incidents = [];
        this.segments = drawing("g", {});
        this.line = drawing("polyline", { class: "round-trips" });
        this.strip = drawing(
            "svg", { class: "strip", viewBox: `0 0 ${SPAN} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
            this.line, this.segments);
        this.list = element("ol", { className: "incidents" });
        this.summary = element("summary", {}, "No interruptions");
        /** For the verification code. */
        this.code = element("p", { className: "code" });
        this.details = element("details", {}, this.summary, this.code, this.list);
        this.element = element(
            "div", { className: "timeline" }, this.strip,
            element("p", { className: "scale", "aria-hidden": "true" }, element("span", {}, "3 min ago"),
                element("span", {}, "now")),
            this.details);
    }

    /**
     * Records the state of the connection: `connected`, `healing` or `connecting`.
     * @param {string} state
     */
    enter(state) {
        if (this.changes.length && this.changes[this.changes.length - 1].state === state) return;
        this.changes.push({ at: now(), state });
        this.draw();
    }

    /** @param {number} value Seconds. */
    addRoundTrip(value) { this.roundTrips.push({ at: now(), value }); }

    /** @param {import("../client/room.js").RoomIncident} incident */
    add(incident) {
        this.incidents.unshift(incident);
        this.list.prepend(describe(incident));
        if (this.incidents.length > LIMIT) {
            this.incidents.pop();
            this.list.lastChild.remove();
        }
        const count = this.incidents.length;
        const worst = Math.max(...this.incidents.map((incident) => incident.endedAt - incident.startedAt));
        const what = count === 1 ? "1 interruption" : `${count} interruptions`;
        setText(this.summary, `${what}, ${count === 1 ? "" : "longest "}${duration(worst)}`);
        this.draw();
    }

    draw() {
        const end = now();
        const begin = end - SPAN;
        while (this.changes.length > 1 && this.changes[1].at < begin) this.changes.shift();
        while (this.roundTrips.length && this.roundTrips[0].at < begin) this.roundTrips.shift();
        const bars = this.changes.map((change, index) => {
            const from = Math.max(0, change.at - begin);
            const to = index + 1 < this.changes.length ? this.changes[index + 1].at - begin : SPAN;
            // An interruption of a moment is still seen.
            const width = Math.max(to - from, change.state === "connected" ? 0 : 1.5);
            const isTall = change.state === "healing";
            return drawing("rect", {
                class: change.state, x: from.toFixed(2), y: isTall ? HEIGHT - 3 * BAR : HEIGHT - BAR,
                width: width.toFixed(2), height: isTall ? 3 * BAR : BAR,
            });
        });
        // What was not connected lies above its neighbours.
        bars.sort((left, right) => Number(left.getAttribute("class") !== "connected")
            - Number(right.getAttribute("class") !== "connected"));
        const ground = drawing("rect", { x: 0, y: HEIGHT - BAR, width: SPAN, height: BAR });
        this.segments.replaceChildren(ground, ...bars);
        const highest = Math.max(0.02, ...this.roundTrips.map(({ value }) => value));
        const room = HEIGHT - BAR - 8;
        this.line.setAttribute("points", this.roundTrips.map(({ at, value }) =>
            `${(at - begin).toFixed(1)},${(room + 4 - value / highest * room).toFixed(1)}`).join(" "));
        const count = this.incidents.length;
        this.strip.setAttribute("aria-label", `Connection ${this.of}, last three minutes: `
            + `${this.changes.filter(({ state }) => state === "healing").length || "no"} interruptions. `
            + `${count || "No"} recoveries recorded.`);
    }
}

/** @param {import("../client/room.js").RoomIncident} incident */
function describe(incident) {
    const took = duration(incident.endedAt - incident.startedAt);
    const isHealed = incident.outcome === "recovered";
    const how = incident.rung && incident.rung !== "wait" ? `${RUNGS[incident.rung]}, ` : "";
    const steps = incident.steps.map((step) => element(
        "li", {}, element("span", { className: "when" }, `+${(step.at - incident.startedAt).toFixed(2)} s`),
        element("span", {}, stepText(step))));
    return element(
        "li", { className: isHealed ? "healed" : "ended" },
        element("details", {},
            element("summary", {},
                element("time", {}, clock(dateOf(incident.startedAt), true)), " ",
                element("span", {}, causeText(incident.cause)), " ",
                element("strong", {}, isHealed ? `${how}healed in ${took}` : `left after ${took}`)),
            element("ol", { className: "steps" }, ...steps)));
}
