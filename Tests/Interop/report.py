"""Makes the table of an interop run in Markdown, on standard output, from the file of its results.

report.py RESULTS
"""

import collections
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys

PACKAGES = {"aiortc": "aiortc", "libdatachannel": "pylibdatachannel", "libwebrtc": "wrtc"}


def main():
    results = [json.loads(line) for line in open(sys.argv[1])]
    columns, rows, cells = [], [], {}
    for result in results:
        title, _, name = result["what"].partition(": ")
        stack, _, role = title.partition(", ")
        column = (stack, role.removeprefix("ours as "))
        if column not in columns:
            columns.append(column)
        if name not in rows:
            rows.append(name)
        cells[name, column] = result
    counts = collections.Counter(result["result"] for result in results)
    print("# Interop\n")
    print(
        "Results of `Tests/Interop/run --report`: `room` and other stacks as members of one room. The Python client "
        "was written from the document of the protocol alone, on aiortc. “offerer” and “answerer” are the role of "
        f"`room`. {counts['ok']} checks held, {counts['failed']} failed, {counts['skipped']} were skipped.\n"
    )
    print(", ".join(filter(None, [*map(version, PACKAGES), pion(), browser()])) + ".")
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    print(f"{os.cpu_count()} CPUs, {system}, load at the end {os.getloadavg()[0]:.1f}.")
    stacks = list(dict.fromkeys(stack for stack, _ in columns))
    members = [stack for stack in stacks if stack.startswith("Python")]
    foreign = [stack for stack in stacks if stack not in members]
    for title, group in (("Foreign stacks, plain channels", foreign), ("The Python client", members)):
        mine = sorted(
            (column for column in columns if column[0] in group),
            key=lambda column: (stacks.index(column[0]), column[1] != "offerer"),
        )
        if not mine:
            continue
        print(f"\n## {title}\n")
        print("| check | " + " | ".join(f"{stack}, {role}" for stack, role in mine) + " |")
        print("| --- |" + " --- |" * len(mine))
        for name in rows:
            if any((name, column) in cells for column in mine):
                print(f"| {name} | " + " | ".join(text(cells.get((name, column))) for column in mine) + " |")


def text(result):
    if result is None:
        return "–"
    note = result["note"].replace("|", "\\|")
    if result["result"] == "skipped":
        return f"skipped: {note}"
    word = "ok" if result["result"] == "ok" else "**failed**"
    return word + (f": {note}" if note else "")


def version(stack):
    try:
        return f"{stack} ({PACKAGES[stack]} {importlib.metadata.version(PACKAGES[stack])})"
    except importlib.metadata.PackageNotFoundError:
        return None


def pion():
    query = ["dpkg-query", "-W", "-f", "${Version}", "golang-github-pion-webrtc.v3-dev"]
    found = shutil.which("dpkg-query") and subprocess.run(query, capture_output=True, text=True).stdout
    return f"pion (webrtc {found})" if found else None


def browser():
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        return None
    return subprocess.run([chromium, "--version"], capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
