"""A room of four: Chromium, Firefox, and two of `room connect`, all connected to all. The pages are of plain http."""

import rows
from meeting import Lab, LabError
from outages import Outage, server_killed
from results import describe, verdict

KINDS = ("chromium", "firefox", "swift", "swift")
OUTAGES = [
    Outage("silent-6", "a room of four, the path of Chromium silent 6 s", rows.silent(6), 1.0),
    Outage("server-2", "a room of four, server killed, back after 2 s", server_killed(2), 1.0, gap_asked=0.5),
]


def measure(tools, say, is_timed):
    """Yields (title, run, faults)."""
    try:
        lab = Lab(tools, "four", KINDS, is_secure=False)
    except LabError as error:
        yield "a room of four", {"error": str(error)}, [str(error)]
        return
    try:
        for outage in OUTAGES:
            try:
                meeting = lab.meet(outage.name)
                try:
                    run = meeting.measure(outage.cause)
                    run |= {"role": meeting.role(), "complaints": meeting.complaints()}
                    run["failed"] = [event["message"] for peer in meeting.peers for event in peer.named("failed")]
                finally:
                    meeting.close()
            except LabError as error:
                run = {"error": str(error), "role": ""}
            # The pairs that were not hit must not notice.
            faults = verdict(outage, run, KINDS, is_timed)
            say(f"{'FAILED' if faults else 'ok'}: {outage.title}: {'; '.join(faults) or describe(run)}")
            yield outage.title, run, faults
    finally:
        lab.close()
