def check(case):
    """Forty bridges and forty service addresses do not hide the interface that leads to the peer"""
    cable = case.cable(a=("10.1.1.1/24",), b=("10.1.1.2/24",))
    for number, host in ((1, cable.a), (2, cable.b)):
        lines = []
        for index in range(1, 41):
            name = f"br-{index:012x}"
            lines += [f"link add {name} type veth peer name far{index}",
                      f"addr add 172.{number}.{index}.1/24 dev {name}",
                      f"link set {name} up", f"link set far{index} up"]
        lines += [f"addr add 10.77.{number}.{index}/32 dev eth0" for index in range(1, 41)]
        # The one that counts comes last in every list of the system.
        lines += [f"addr {verb} 10.1.1.{number}/24 dev eth0" for verb in ("del", "add")]
        host.ip(*lines)
    case.pair(cable.a, cable.b, case.serve(cable.a, "10.1.1.1"))
