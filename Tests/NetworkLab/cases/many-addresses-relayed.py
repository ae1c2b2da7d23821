import socket

from processes import SECRET

RELAY = "10.1.1.1"
PORTS = (20000, 20200)


def check(case):
    """With sixteen more addresses on each side and no direct path, two machines connect by a relay"""
    cable = case.cable(a=("10.1.1.1/24",), b=("10.1.1.2/24",))
    for number, host in ((1, cable.a), (2, cable.b)):
        host.ip(*[f"addr add 10.77.{number}.{index}/32 dev lo" for index in range(1, 17)])
        # What goes from one of the system's own choices of a port to another is between the peers themselves.
        host.nft("table ip t { chain in { type filter hook input priority 0; "
                 "udp sport 32768-60999 udp dport 32768-60999 drop; }; }\n")
    start_relay(case, cable.a)
    secret = case.folder / "turn-secret"
    secret.write_text(SECRET)
    server = case.serve(cable.a, "10.1.1.1", "--turn-uri", f"turn:{RELAY}:3478", "--turn-secret-file", str(secret))
    first, second = case.pair(cable.a, cable.b, server)
    paths = {*first.paths().values(), *second.paths().values()}
    case.require("relay" in paths, f"the paths are {paths}")


def start_relay(case, host):
    case.start("turn", host, [
        "turnserver", "-n", "--no-cli", "--listening-ip", RELAY, "--relay-ip", RELAY, "--use-auth-secret",
        f"--static-auth-secret={SECRET}", "--realm", "lab", "--no-tls", "--no-dtls", "--min-port", str(PORTS[0]),
        "--max-port", str(PORTS[1]), "--log-file", str(case.folder / "turn.log"), "--simple-log", "--userdb",
        str(case.folder / "turndb"), "--pidfile", str(case.folder / "turn.pid")])
    # A STUN binding request, RFC 8489 §5.
    request = bytes.fromhex("000100002112a442") + b"room-network"
    with host.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.settimeout(0.05)
        for _ in range(200):
            try:
                probe.sendto(request, (RELAY, 3478))
                if probe.recv(1500)[8:20] == request[8:20]:
                    return
            except (ConnectionRefusedError, TimeoutError):
                pass
    case.require(False, "turnserver does not answer")
