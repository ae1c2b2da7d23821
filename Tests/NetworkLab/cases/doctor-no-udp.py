import time


def check(case):
    """On a machine that lets no UDP through, the doctor's participants say within half a minute what is missing, and
    what to do"""
    cable = case.cable(a=("10.1.1.1/24",), b=("10.1.1.2/24",))
    server = case.serve(cable.a, "10.1.1.1")
    cable.b.nft("table inet t { chain in { type filter hook input priority 0; meta l4proto udp drop; }; }\n")
    begin = time.monotonic()
    findings = {f["check"]: f for f in case.doctor(cable.b, "--server", server.url, "--room", "check")}
    case.require(time.monotonic() - begin < 25, f"the doctor took {time.monotonic() - begin:.0f} s")
    for name, status in (("udp", "problem"), ("join", "ok"), ("ice", "problem")):
        case.require(findings[name]["status"] == status, f"the doctor says {findings[name]}")
    case.require("cure" in findings["ice"] and "dtls" not in findings, f"the doctor says {findings['ice']}")
