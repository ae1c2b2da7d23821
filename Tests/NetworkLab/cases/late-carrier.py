def check(case):
    """Two processes that start before their only cable is plugged in connect within seconds after it is"""
    cable = case.cable(a=("169.254.10.1/16",), b=("169.254.10.2/16",))
    server = case.serve(cable.a, "169.254.10.1")
    cable.b.ip("link set eth0 down")
    first = case.connect("a", cable.a, server, "--as-host")
    first.wait_event("joined")
    second = case.connect("b", cable.b, server)
    second.wait("attempt to reach the server", lambda child: len(child.signaling()) > 2)
    cable.b.ip("link set eth0 up")
    second.wait_event("joined")
    first.wait_connected(seconds=5)
    case.exchange(first, second)
