import pathlib
import sys

import sandbox


def check(case):
    """A process that the system gives no netlink sockets finds its addresses anyway, and the doctor names the
    sandbox"""
    if not sandbox.is_supported():
        case.skip("the filter is written for x86-64 and arm64")
    under = [sys.executable, "-B", str(pathlib.Path(sandbox.__file__)), str(sandbox.NETLINK)]
    cable = case.cable(a=("10.1.1.1/24", "fd00:1::1/64"), b=("10.1.1.2/24", "fd00:1::2/64"))
    server = case.serve(cable.a, "10.1.1.1")
    first = case.connect("a", cable.a, server, "--as-host", under=under)
    first.wait_event("joined")
    second = case.connect("b", cable.b, server, under=under)
    case.exchange(first, second)
    # Found by polling, since changes are not reported: the new address is the only one left.
    cable.b.ip("addr del 10.1.1.2/24 dev eth0", "addr del fd00:1::2/64 dev eth0", "addr add 10.1.1.3/24 dev eth0")
    second.wait("message after a change of address", lambda child: came_across(first, child), 20)
    finding = next(f for f in case.doctor(cable.b, under=under) if f["check"] == "interfaces")
    case.require(finding["status"] == "warning", f"the doctor takes no netlink for {finding['status']}")
    case.require("10.1.1.3" in finding["message"], f"the doctor finds no address: {finding['message']}")
    case.require("RestrictAddressFamilies" in finding["cure"], f"the doctor's cure is {finding['cure']}")


def came_across(sender, receiver):
    sender.command(do="send", text="after")
    return any(event["text"] == "after" for event in receiver.named("message"))
