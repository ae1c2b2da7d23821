def check(case):
    """A machine whose only address is on docker0 connects, and the doctor does not call it a problem"""
    cable = case.cable(a=("10.1.1.1/24",), b=("10.1.1.2/24",))
    cable.b.ip("link set eth0 down", "link set eth0 name docker0", "link set docker0 up")
    case.pair(cable.a, cable.b, case.serve(cable.a, "10.1.1.1"))
    finding = next(f for f in case.doctor(cable.b) if f["check"] == "interfaces")
    case.require(finding["status"] != "problem", f"the doctor says {finding}")
