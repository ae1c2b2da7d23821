def check(case):
    """Two processes on a machine whose only interface has lost its carrier connect with each other"""
    cable = case.cable(a=("10.1.1.1/24",))
    cable.b.ip("link set eth0 down")
    case.pair(cable.a, cable.a, case.serve(cable.a))
