def check(case):
    """Two machines on one cable, with an address each and neither router nor default route, connect"""
    cable = case.cable(a=("10.1.1.1/24",), b=("10.1.1.2/24",))
    case.pair(cable.a, cable.b, case.serve(cable.a, "10.1.1.1"))
