def check(case):
    """Two machines on one cable with link-local IPv4 addresses only connect, and the doctor finds them sufficient"""
    cable = case.cable(a=("169.254.10.1/16",), b=("169.254.10.2/16",))
    case.pair(cable.a, cable.b, case.serve(cable.a, "169.254.10.1"))
    finding = next(f for f in case.doctor(cable.b) if f["check"] == "interfaces")
    case.require(finding["status"] == "warning" and "169.254.10.2" in finding["message"], f"the doctor says {finding}")
