import hashlib
import shutil
import time

SECONDS = 60.0
SIZE = 251 * 400_000


def check(case):
    """A file arrives whole, once, through a silent path, the loss of the server's state, and a change of address"""
    cable = case.cable(a=("10.1.1.1/24",), b=("10.1.1.2/24",))
    server = case.serve(cable.a, "10.1.1.1", "--session-key-file", str(case.folder / "key"))
    source = case.folder / "file"
    source.write_bytes(bytes(range(251)) * 400_000)
    target = case.folder / "target"
    # That of an earlier run.
    shutil.rmtree(target, ignore_errors=True)
    sender = case.start("sender", cable.a, [case.room, "send", str(source), "--server", server.url, "--json"])
    code = sender.wait_event("code")["code"]
    # On a slow cable it lasts long enough for all of the outages.
    for host in (cable.a, cable.b):
        case.run(host, *"tc qdisc add dev eth0 root tbf rate 100mbit burst 256kb latency 50ms".split())
    receiver = case.start(
        "receiver", cable.b, [case.room, "receive", code, "--into", str(target), "--server", server.url, "--json"])

    def wait_for(part, seconds=20):
        receiver.wait(f"{part:.0%} of the file", lambda child: any(
            event["bytes"] >= part * SIZE for event in child.events if event.get("event") == "progress"), seconds)

    wait_for(0.05)
    cable.b.nft("table ip silence { chain i { type filter hook input priority 0; meta l4proto udp drop; }; }")
    # The outage itself.
    time.sleep(3)
    cable.b.nft("delete table ip silence")
    wait_for(0.3)
    server.kill()
    wait_for(0.4)
    case.serve(cable.a, "10.1.1.1", "--session-key-file", str(case.folder / "key"), name="server-again")
    wait_for(0.5)
    # In this order: an address goes with the first one of its network.
    cable.b.ip("addr del 10.1.1.2/24 dev eth0", "addr add 10.1.1.3/24 dev eth0")
    for child in (receiver, sender):
        child.wait("end", lambda child: any(event.get("event") == "done" for event in child.events), 30)
        case.require(child.process.wait(10) == 0, f"{child.name} ended with {child.process.returncode}")
    arrived = [path.name for path in target.iterdir()]
    case.require(arrived == ["file"], f"there is {arrived}")
    case.require(
        hashlib.sha256((target / "file").read_bytes()).digest() == hashlib.sha256(source.read_bytes()).digest(),
        "the file is another")
