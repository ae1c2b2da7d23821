def check(case):
    """Sixteen more addresses on each side do not keep two machines from connecting, nor for long"""
    cable = case.cable(a=("10.1.1.1/24",), b=("10.1.1.2/24",))
    for number, host in ((1, cable.a), (2, cable.b)):
        host.ip(*[f"addr add 10.77.{number}.{index}/32 dev lo" for index in range(1, 17)])
    first, _ = case.pair(cable.a, cable.b, case.serve(cable.a, "10.1.1.1"))
    took = seconds_to_connect(first)
    case.require(took < 1.5, f"connecting took {took:.2f} s")


def seconds_to_connect(participant):
    states = {event["state"]: event["t"] for event in reversed(participant.named("peer"))}
    return states["connected"] - states["connecting"]
