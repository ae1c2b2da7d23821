#!/usr/bin/env python3
"""Writes the manual page room(1). Reads what `room --experimental-dump-help` prints from standard input."""
import json
import re
import sys
import textwrap

INTRODUCTION = """\
Rooms of peers that stay connected: a server, a participant for people and scripts, file transfer, and tools. Every
command takes settings from a file (--config, YAML or JSON), from the environment (sessionKeyFile of the file is
ROOM_SESSION_KEY_FILE) and from flags; later ones win.
"""
SIGNALS = """\
SIGTERM drains the server: clients are told to return later, then it ends with status 0. SIGINT stops it (status 130).
SIGHUP reads the settings again: certificates, allowed origins, the level of the log; what cannot be used changes
nothing. SIGHUP drains the server when it was started from a terminal that has closed.
"""
EXIT_STATUS = [
    ("0", "Done."), ("1", "A message was not delivered, or a file could not be read or written."),
    ("2", "Usage or configuration error."), ("3", "Refused by the server."),
    ("4", "A backend is unavailable on this machine."), ("5", "A check failed."),
    ("6", "The other side does not want the files."), ("7", "The other side did not prove the code."),
    ("8", "A transfer was interrupted; started again, it continues."), ("9", "A file of the same name is there."),
    ("130", "Interrupted."), ("141", "Nobody reads standard output any more."),
]
ENVIRONMENT = [
    ("ROOM_\\fIKEY\\fR", "A setting of the configuration file."),
    ("STATE_DIRECTORY, XDG_STATE_HOME", "Where the server keeps what it needs after a restart."),
    ("NOTIFY_SOCKET, WATCHDOG_USEC", "The service manager to inform, as described in sd_notify(3)."),
    ("LISTEN_FDS, LISTEN_PID", "A listening socket from the service manager, as described in sd_listen_fds(3)."),
]


def escaped(text):
    """Returns text that roff shows as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?m)^([.'])", r"\\&\1", text)


def paragraph(text):
    return "\n".join(escaped(line) for line in textwrap.wrap(" ".join(text.split()), 100, break_on_hyphens=False))


def option(argument):
    """Returns an argument as it is written: names of an option in bold, values in italics."""
    value = f"\\fI{escaped(argument.get('valueName', 'value'))}\\fR"
    if argument["kind"] == "positional":
        return value + (" ..." if argument["isRepeating"] else "")
    names = [("--" if name["kind"] == "long" else "-") + name["name"] for name in argument.get("names", [])]
    names = ", ".join(f"\\fB{escaped(name)}\\fR" for name in sorted(names, key=len))
    return names if argument["kind"] == "flag" else f"{names} {value}"


def shown(command):
    return [part for part in command.get("subcommands", []) if part.get("shouldDisplay", True)
            and part["commandName"] != "help"]


def options(command):
    for argument in command.get("arguments", []):
        names = {name["name"] for name in argument.get("names", [])}
        if not argument.get("shouldDisplay", True) or "version" in names or "help" in names:
            continue
        yield ".TP"
        yield option(argument)
        yield paragraph(argument.get("abstract", "") or "No description.")


def describe(command, path):
    """Yields the section of a command and those of its subcommands."""
    name = " ".join(path + [command["commandName"]])
    positional = [option(argument) for argument in command.get("arguments", [])
                  if argument["kind"] == "positional" and argument.get("shouldDisplay", True)]
    yield f".SS {escaped(name)}"
    yield f".B {escaped(name)}"
    yield " ".join(["[options]"] + positional)
    yield ".PP"
    for text in [command.get("abstract", ""), command.get("discussion", "")]:
        if text:
            yield paragraph(text)
            yield ".PP"
    yield from options(command)
    for part in shown(command):
        yield from describe(part, path + [command["commandName"]])


def page(root):
    yield '.\\" Made by Sources/RoomServer/Deployment/manual.py'
    yield ".TH ROOM 1"
    yield ".SH NAME"
    yield "room \\- " + escaped(root["abstract"].rstrip("."))
    yield ".SH SYNOPSIS"
    yield ".B room"
    yield "\\fIcommand\\fR [options]"
    yield ".SH DESCRIPTION"
    yield paragraph(INTRODUCTION)
    yield ".SH COMMANDS"
    for command in shown(root):
        yield from describe(command, [root["commandName"]])
    yield ".SH SIGNALS"
    yield paragraph("room serve: " + SIGNALS)
    for title, rows in [("EXIT STATUS", EXIT_STATUS), ("ENVIRONMENT", ENVIRONMENT)]:
        yield f".SH {title}"
        for name, text in rows:
            yield ".TP"
            yield f".B {name}"
            yield paragraph(text)
    yield ".SH FILES"
    yield ".TP"
    yield ".I /etc/room/room.yaml"
    yield paragraph("The settings of the service room.service.")
    yield ".SH SEE ALSO"
    yield "systemd.service(5), systemd.socket(5), turnserver(1)"


if __name__ == "__main__":
    print("\n".join(page(json.load(sys.stdin)["command"])))
