def check(case):
    """A path that drops datagrams over 1172 bytes carries large messages in both directions"""
    cable = case.cable(a=("10.1.1.1/24",), b=("10.1.1.2/24",))
    cable.switch_offloads_off()
    for host in (cable.a, cable.b):
        host.nft("table ip small { chain i { type filter hook input priority 0; udp length > 1180 counter drop; }; }")
    first, second = case.pair(cable.a, cable.b, case.serve(cable.a, "10.1.1.1"))
    for size in (2_000, 50_000):
        for one, other in ((first, second), (second, first)):
            one.command(do="send", text="x" * size)
            other.wait_message("x" * size, seconds=10)
