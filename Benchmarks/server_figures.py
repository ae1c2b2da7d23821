"""The figures of `server.py`: what is asked for, tables of them, and which of them are worse than before."""

import statistics


def figure(title, unit, asked=None, least=True, digits=0):
    return {"title": title, "unit": unit, "asked": asked, "least": least, "digits": digits}


FIGURES = {
    "joins": figure("joins", "per core-second", 8500),
    "churn": figure("joins and leaves", "per core-second"),
    "signals": figure("relayed signals, 4 under way", "per core-second", 65_000),
    "signals_kernel": figure("of their time, in the kernel", "%", least=False),
    "signals_1": figure("relayed signals, 1 under way", "per core-second"),
    "signals_1_kernel": figure("of their time, in the kernel", "%", least=False),
    "signals_spread": figure("relayed signals, 10,000 a second, evenly", "per core-second"),
    "signals_spread_kernel": figure("of their time, in the kernel", "%", least=False),
    "signals_ms": figure("a signal of these, 99 %", "ms", least=False, digits=1),
    "idle_memory": figure("memory of an idle client", "KiB", 5, least=False, digits=2),
    "idle_cpu": figure("8,000 idle clients", "% of a core", 5, least=False, digits=2),
    "tls_resumed": figure("TLS handshakes with resumption", "per core-second", 2500),
    "tls_share": figure("of them resumed, each ticket used once", "%", 98),
    "tls_full": figure("TLS handshakes without", "per core-second"),
    "tls_memory": figure("memory of an idle client over TLS", "KiB", least=False, digits=2),
    "comeback": figure("10,000 clients back after kill -9", "s", 3, least=False, digits=2),
    "comeback_refused": figure("of them refused for good", "", 0, least=False),
    "comeback_undelivered": figure("of 10,000 signals in whole rooms, not delivered", "", 0, least=False),
    "drain": figure("signals lost in a drain", "", 0, least=False),
    "drain_refused": figure("clients refused for good in a drain", "", 0, least=False),
    "drain_back": figure("all clients back after a drain", "s", least=False, digits=2),
    "neighbour_sockets": figure("slowest join beside a neighbour's sockets", "ms", 100, least=False, digits=1),
    "neighbour_handshakes": figure("slowest join beside its handshakes", "ms", 100, least=False, digits=1),
    "neighbour_rooms": figure("slowest join beside its rooms", "ms", 100, least=False, digits=1),
    "neighbour_failed": figure("joins refused or late beside it", "", 0, least=False),
    "threads_joins": figure("joins, two threads to one", "x", 1.7, digits=2),
    "threads_move": figure("a join that moves to its room's thread costs more by, at most", "µs", least=False),
    "threads_signals": figure("signals, two threads to one", "x", 1.7, digits=2),
}


def passes(known, value):
    return known["asked"] is None or (value >= known["asked"] if known["least"] else value <= known["asked"])


def shown(known, value):
    return "–" if value is None else f"{value:,.{known['digits']}f}"


def table(results, names):
    """The rows of a table: for each figure the median of every executable, and the figure that is asked for."""
    rows = [["figure", "unit", *names, "asked", ""]]
    for key, known in FIGURES.items():
        values = [results[name].get(key) for name in names]
        if all(value is None for value in values):
            continue
        medians = [statistics.median(value) if value else None for value in values]
        asked = "" if known["asked"] is None else ("≥ " if known["least"] else "≤ ") + shown(known, known["asked"])
        mark = "" if known["asked"] is None or medians[0] is None else "yes" if passes(known, medians[0]) else "NO"
        rows.append([known["title"], known["unit"], *(shown(known, median) for median in medians), asked, mark])
    return rows


def printed(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) if column < 2 else cell.rjust(width)
                 for column, (cell, width) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())


def markdown(report, rows):
    lines = ["# The room server under load", "",
             "`make bench-server` writes this file: the server on one core, the load generator on the other;",
             f"medians of {report['run']['rounds']} rounds. The spread of the rounds is in the JSON file beside it.",
             "",
             ", ".join(f"{key} {value}" for key, value in report["machine"].items()) + ".", ""]
    for number, row in enumerate(rows):
        lines.append("| " + " | ".join(row) + " |")
        if number == 0:
            lines.append("|---|---|" + "---:|" * (len(row) - 3) + "---|")
    lines += ["", "Two threads to one: both cores are the server's in both runs, and the generator takes what it needs",
              "of both. Compared is what the server does for each second of its processor time, times its threads:",
              "the cost of sharing. As a rate it holds where the generator runs elsewhere. Signals share nothing. Half",
              "of the joins come in on the thread that is not their room's, and move: a second channel for the socket.",
              "With n threads (n − 1)/n of them do; no thread waits for another."]
    return "\n".join(lines) + "\n"


def worse_than(baseline, results, tolerance):
    """The figures that are worse than the baseline's by more than both spreads and the tolerance."""
    found = []
    for key, values in results.items():
        known, before = FIGURES[key], baseline.get(key)
        if not before or key.endswith("_kernel"):
            continue
        change = statistics.median(values) - statistics.median(before)
        loss = -change if known["least"] else change
        spread = max(values) - min(values) + max(before) - min(before)
        if loss > max(spread, tolerance * abs(statistics.median(before))):
            found.append(f"{known['title']}: {shown(known, statistics.median(before))} before, "
                         f"{shown(known, statistics.median(values))} now")
    return found + [f"{FIGURES[key]['title']}: missing" for key in baseline if key in FIGURES and key not in results]
