def check(case):
    """A path that starts to drop large datagrams while messages are in transit delivers each of them once, over a new
    connection"""
    cable = case.cable(a=("10.1.1.1/24",), b=("10.1.1.2/24",))
    cable.switch_offloads_off()
    first, second = case.pair(cable.a, cable.b, case.serve(cable.a, "10.1.1.1"))
    for host in (cable.a, cable.b):
        host.nft("table ip small { chain i { type filter hook input priority 0; udp length > 1100 counter drop; }; }")
    for one, other in ((first, second), (second, first)):
        one.command(do="send", text=f"{one.name}" * 20_000)
    for one, other in ((first, second), (second, first)):
        other.wait_message(f"{one.name}" * 20_000, seconds=10)
        case.require(len(other.named("message")) == 2, f"{other.name} got {len(other.named('message'))} messages of 2")
