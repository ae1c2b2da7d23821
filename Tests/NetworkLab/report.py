"""The required figures, and the tables."""

# A recovery must not disturb other pairs.
HEALTHY_GAP = 0.1


def verdict(summary, timed=True):
    """Sentences about failed requirements; none when the row has passed. Untimed: all recover and nothing is lost,
    however slowly."""
    faults = [f"error: {error}" for error in summary["errors"]]
    if summary["never"] > len(summary["errors"]):
        faults.append(f"{summary['never'] - len(summary['errors'])} runs never healed")
    for key in ("lost", "doubled", "disordered", "undelivered"):
        if summary[key]:
            faults.append(f"{summary[key]} messages {key}")
    if not summary["paths_whole"]:
        faults.append("at the end not everybody is connected to everybody, or a participant is seen who is not there")
    if not timed:
        return faults
    asked = summary["asked"]
    if asked["median"] is not None and summary["median"] is not None and summary["median"] > asked["median"]:
        faults.append(f"median {summary['median']:.2f} s, asked {asked['median']} s")
    if asked["worst"] is not None and summary["worst"] is not None and summary["worst"] > asked["worst"]:
        faults.append(f"worst {summary['worst']:.2f} s, asked {asked['worst']} s")
    limit = summary.get("noticed_asked")
    if limit is not None and (summary["noticed"] is None or summary["noticed"] > limit):
        faults.append(f"noticed after {shown(summary['noticed'])} s, asked {limit} s")
    if summary["healthy_gap"] is not None and summary["healthy_gap"] > HEALTHY_GAP:
        gap = summary["healthy_gap"] * 1000
        faults.append(f"a healthy pair waited {gap:.0f} ms, asked {HEALTHY_GAP * 1000:.0f} ms")
    return faults


def shown(value, digits=2):
    return "–" if value is None else f"{value:.{digits}f}"


def asked(summary):
    wanted = summary["asked"]
    return "–" if wanted["median"] is None else f"{wanted['median']} ({wanted['worst']})"


def cells(summary):
    return [
        summary["title"], asked(summary),
        f"{shown(summary['median'])} ({'never' if summary['never'] else shown(summary['worst'])})",
        f"{summary['lost']} / {summary['doubled']} / {summary['disordered']}",
        "–" if summary["healthy_gap"] is None else f"{summary['healthy_gap'] * 1000:.0f}",
        shown(summary["noticed"], 1), shown(summary["signaling"]) if summary["noticed"] is not None else "–",
        f"{summary['restarts'] or 0:g} / {summary['rebuilds'] or 0:g}",
        "; ".join(summary["faults"]) or "as asked",
    ]


HEAD = ["outage", "asked", "median (worst)", "lost / doubled / disordered", "healthy gap ms", "noticed s",
        "room whole s", "restarts / rebuilds", "verdict"]
LINK_HEAD = ["link", "asked", "measured", "verdict"]
CASE_HEAD = ["case", "rule", "seconds", "verdict"]
FILE_HEAD = ["outage, with a file on its way", "seconds at the sender", "at the receiver", "verdict"]


def link_cells(result):
    return [result["title"], result["asked"], result["measured"], "; ".join(result["faults"]) or "as asked"]


def case_cells(result):
    verdict = "SKIPPED: " + result["why_skipped"] if result["skipped"] else "; ".join(result["faults"]) or "as asked"
    return [result["name"], result["title"], shown(result["seconds"], 1), verdict]


def file_cells(result):
    seconds = [", ".join(shown(value) for value in result["seconds"][end]) or "–" for end in ("sender", "receiver")]
    return [result["title"], *seconds, "; ".join(result["faults"]) or "whole, once"]


def write_table(summaries, links, cases, files, file):
    if summaries:
        write_columns(HEAD, [cells(summary) for summary in summaries], file)
    if links:
        write_columns(LINK_HEAD, [link_cells(result) for result in links], file)
    if cases:
        write_columns(CASE_HEAD, [case_cells(result) for result in cases], file)
    if files:
        write_columns(FILE_HEAD, [file_cells(result) for result in files], file)


def write_columns(head, rows, file):
    widths = [max(len(row[index]) for row in [head, *rows]) for index in range(len(head))]
    widths[-1] = 0
    for row in [head, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip(), file=file)
    print(file=file)


def markdown(document):
    machine = document["machine"]
    lines = [
        "# Network lab", "",
        "Seconds from the end of the outage (for changes: from the change) to the first message in both directions of"
        " every pair that was hit; for the rows about the room server: until the last participant is back in the room."
        " Peers are behind port-restricted NATs where nothing else is said, and each sends 20 messages a second to each"
        " other one on the reliable channel.",
        "", f"{document['repeat']} runs per row, each with new processes and a new network; median (worst)."
        f" {machine['cpus']} CPUs, Linux {machine['kernel']}, load at the end {machine['load'][0]:.1f}.", "",
    ]
    if document["rows"]:
        lines += table(HEAD, [cells(summary) for summary in document["rows"]])
    if document["links"]:
        lines += [""] + table(LINK_HEAD, [link_cells(result) for result in document["links"]])
    if document["cases"]:
        lines += [""] + table(CASE_HEAD, [case_cells(result) for result in document["cases"]])
    if document["files"]:
        lines += [""] + table(FILE_HEAD, [file_cells(result) for result in document["files"]])
    return "\n".join(lines) + "\n"


def table(head, rows):
    return ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
