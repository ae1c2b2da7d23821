import shutil


def check(case):
    """A relay over IPv6 carries large messages on a link of 1280 bytes without a fragment"""
    if not shutil.which("turnserver"):
        case.skip("coturn is not installed")
    cable = case.cable(a=("10.1.1.1/24", "fd00:1::1/64 nodad"), b=("10.1.1.2/24", "fd00:1::2/64 nodad"), mtu=1280)
    for host in (cable.a, cable.b):
        host.nft("table ip6 f { chain p { type filter hook prerouting priority -450;"
                 " exthdr frag exists counter drop; }; }")
    case.start("turn", cable.b, [
        "turnserver", "-n", "-L", "fd00:1::2", "-E", "127.0.0.1", "-p", "3478", "--no-tls", "--no-dtls",
        "--no-cli", "-a", "-u", "u:c", "-r", "lab",
        "--allow-loopback-peers", "--log-file", "/dev/null", "--pidfile", str(case.folder / "turn.pid"), "--userdb",
        str(case.folder / "turndb")])
    settings = case.folder / "relay.yaml"
    settings.write_text(
        "icePolicy: relay\niceServers:\n  - {urls: ['turn:[fd00:1::2]:3478'], username: u, credential: c}\n")
    first, second = case.pair(cable.a, cable.b, case.serve(cable.b, "fd00:1::2"), "--config", str(settings))
    for one, other in ((first, second), (second, first)):
        one.command(do="send", text="x" * 20_000)
        other.wait_message("x" * 20_000, seconds=10)
    for host in (cable.a, cable.b):
        rules = case.run(host, "nft", "list", "ruleset").stdout
        case.require("packets 0 " in rules, f"fragments were sent: {rules}")
