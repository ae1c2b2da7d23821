"""The page that `room serve` has at `/`, as a person uses it: through its fields and buttons only."""

import json

from checks import Failure, require
from network import PORT, SERVER
from participants import SwiftPeer

FIRST_LOAD = 100_000
NARROW = (360, 740)
# What others say is text, whatever it looks like.
MARKUP = '<img src=x onerror="document.body.textContent = 1"> & <b>bold</b>'

LOADED = """(() => {
    const parts = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
    return JSON.stringify({
        bytes: parts.reduce((sum, part) => sum + part.transferSize, 0), requests: parts.length,
        interactive: Math.round(parts[0].domInteractive),
    });
})()"""
# Visible controls whose purpose nothing tells to those who do not see them.
NAMELESS = """[...document.querySelectorAll("a, button, input, select, textarea")].filter((control) =>
    control.offsetParent && !control.labels?.length && !control.getAttribute("aria-label")
    && !control.textContent.trim()
).map((control) => control.outerHTML.slice(0, 80)).join(", ")"""
IS_CONNECTED = "/Connected/.test(document.getElementById('people').textContent)"


class Person:
    """Somebody in front of the page."""

    def __init__(self, browser, room):
        self.page = browser.open(f"http://{SERVER}:{PORT}/{room}")
        self.kind = browser.kind

    def see(self, what, expression, seconds=15):
        found = self.page.evaluate(f"""(async () => {{
            const end = performance.now() + {seconds * 1000};
            while (!({expression})) {{
                if (performance.now() > end) return false;
                await new Promise((resume) => setTimeout(resume, 20));
            }}
            return true;
        }})()""", seconds + 5)
        if not found:
            log = self.page.evaluate("document.body.innerText.slice(0, 600)")
            raise Failure(f"{self.kind} does not see {what} within {seconds} s, but: {log!r}")

    def read(self, text):
        self.see(f"the text {text!r}", f"document.getElementById('log').textContent.includes({json.dumps(text)})")

    def fill(self, id, text):
        self.page.evaluate(f"""(() => {{
            const field = document.getElementById({json.dumps(id)});
            field.value = {json.dumps(text)};
            field.dispatchEvent(new Event("input", {{ bubbles: true }}));
        }})()""")

    def click(self, selector):
        self.page.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def join(self, name):
        self.see("the field for the name", "document.getElementById('join-name')?.offsetParent")
        self.fill("join-name", name)
        self.click("#join-button")
        self.see("the room", "document.getElementById('composer').offsetParent")

    def say(self, text):
        self.fill("message", text)
        self.click("#send-button")
        self.read(text)

    def choose_file(self, name, length):
        """As if it had been chosen in the browser's dialog."""
        self.page.evaluate(f"""(() => {{
            const files = new DataTransfer();
            const bytes = Uint8Array.from({{ length: {length} }}, (_, index) => index * 31 + (index >> 8));
            files.items.add(new File([bytes], {json.dumps(name)}));
            const field = document.getElementById("files");
            field.files = files.files;
            field.dispatchEvent(new Event("change", {{ bubbles: true }}));
        }})()""")

    def complaints(self):
        return [text for _, level, text in self.page.console if level in ("error", "warning", "assert")]

    def check_controls(self):
        nameless = self.page.evaluate(NAMELESS)
        require(not nameless, f"{self.kind}: controls without a name: {nameless}")

    def leave(self):
        self.click("#leave-button")
        self.see("the entrance", "document.getElementById('join-form').offsetParent")


def with_swift(lab, folder):
    """The page of the server: joining by its link, a conversation with `room connect`, a narrow screen, leaving"""
    person = Person(lab.browsers[1], "page-1")
    peer = None
    try:
        person.see("the entrance", "document.getElementById('join-form')?.offsetParent")
        loaded = json.loads(person.page.evaluate(LOADED))
        require(loaded["bytes"] <= FIRST_LOAD, f"the first load has {loaded['bytes']} bytes, asked {FIRST_LOAD}")
        person.check_controls()
        person.join("Ann")
        peer = SwiftPeer("robot", lab.network.sites[1], lab.tools.room, folder, "page-1")
        peer.wait_event("joined")
        peer.wait_connected(1, 30)
        person.see("the other one as connected", IS_CONNECTED)
        person.say("hello from a page")
        peer.wait("the message", lambda child: any(event.get("text") == "hello from a page" for event in child.events))
        peer.command(do="send", text=MARKUP)
        person.read(MARKUP)
        person.page.resize(*NARROW)
        person.see("a page as wide as the screen", f"document.documentElement.scrollWidth <= {NARROW[0]}")
        person.check_controls()
        person.leave()
        peer.wait("the end of the stay", lambda child: any(
            event.get("event") == "peer" and event.get("state") == "left" for event in child.events))
        complaints = person.complaints()
        require(not complaints, f"in the console: {'; '.join(complaints)}")
    finally:
        if peer:
            peer.stop()
        person.page.close()
    return f"first load {loaded['bytes']} bytes in {loaded['requests']} requests, interactive after" \
           f" {loaded['interactive']} ms"


def between_pages(lab, folder):
    """Two pages of the server: a conversation, a file that is offered, accepted and saved under a safe name"""
    people = []
    try:
        for index, name in ((1, "Ann"), (2, "Bob")):
            people.append(Person(lab.browsers[index], "page-2"))
            people[-1].join(name)
        ann, bob = people
        for person in people:
            person.see("the other one as connected", IS_CONNECTED)
        ann.say("hello, Bob")
        bob.read("hello, Bob")
        bob.choose_file("../plan <v2>.txt", 3_000_000)
        ann.see("the offer of a file", "document.querySelector('#log button[aria-label^=Accept]')")
        require(not ann.page.evaluate("!!document.querySelector('#log a[download]')"), "a file came without a question")
        ann.click("#log button[aria-label^=Accept]")
        ann.see("the file", "document.querySelector('#log a[download]')", 30)
        name = ann.page.evaluate("document.querySelector('#log a[download]').download")
        require("/" not in name and "<" not in name and name.endswith(".txt"), f"the file's name is {name!r}")
        bob.see("the end of the transfer", "!document.querySelector('#log progress, #log button[aria-label^=Cancel]')")
        for person in people:
            person.check_controls()
            complaints = person.complaints()
            require(not complaints, f"{person.kind}, in the console: {'; '.join(complaints)}")
    finally:
        for person in people:
            person.page.close()
    return f"3 MB from {people[1].kind} to {people[0].kind}"
