extension HTMLReport {
    /// The number of colours for subjects.
    static let colours = 10

    var style: String {
        let light = [
            "#2563c9", "#d9730d", "#16885a", "#8a3fc4", "#c22b55", "#0e7c93", "#8a6d0b", "#4f5bd5", "#5f8a12",
            "#a84a1f",
        ]
        let dark = [
            "#6ea3ff", "#ffa657", "#4cc38a", "#c58aff", "#ff7b9c", "#4cc4dd", "#d9b84a", "#9aa5ff", "#a3cc54",
            "#e8906a",
        ]
        func variables(_ colours: [String]) -> String {
            colours.enumerated().map { "--c\($0):\($1)" }.joined(separator: ";")
        }
        let classes = (0..<Self.colours).map { ".c\($0){--own:var(--c\($0))}" }.joined()
        return """
            :root{color-scheme:light dark;--paper:#fff;--panel:#f6f7f9;--line:#dfe3e8;--ink:#1d2430;--muted:#66707f;\
            --ref:#8b94a3;--warn:#9a3412;--good:#16794c;\(variables(light))}
            @media(prefers-color-scheme:dark){\
            :root{--paper:#12161c;--panel:#1a2029;--line:#2f3845;--ink:#e6eaf0;--muted:#98a3b3;\
            --ref:#7c8798;--warn:#ffb38a;--good:#5fd0a0;\(variables(dark))}}
            \(classes).ref{--own:var(--ref)}
            *{box-sizing:border-box}
            body{margin:0 auto;padding:2rem 1.25rem 4rem;max-width:1180px;background:var(--paper);color:var(--ink);\
            font:15px/1.5 system-ui,"Segoe UI",Roboto,"Helvetica Neue","DejaVu Sans",sans-serif}
            h1{font-size:1.7rem;margin:0 0 .75rem;letter-spacing:-.01em}
            h2{font-size:1.3rem;margin:2.6rem 0 .2rem;padding-top:1rem;border-top:1px solid var(--line)}
            .legend+section>h2{border-top:0;margin-top:.6rem}
            h3{font-size:1rem;margin:1.4rem 0 .6rem}
            p{margin:.3rem 0 .6rem;max-width:46rem}
            .muted{color:var(--muted)}
            .facts{display:flex;flex-wrap:wrap;gap:.3rem 2rem;margin:0 0 1rem}
            dt{font-size:.75rem;color:var(--muted)}dd{margin:0}
            .warning{color:var(--warn);font-weight:600}
            .tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(205px,1fr));gap:.75rem;margin:1.2rem 0}
            .tile{background:var(--panel);border-radius:10px;padding:.8rem 1rem;font-size:.88rem}
            .tile .value{font-size:1.75rem;font-weight:650;line-height:1.25;letter-spacing:-.02em}
            .tile small{font-size:.95rem;font-weight:400;color:var(--muted)}
            .legend{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;max-width:none;position:sticky;top:0;\
            background:var(--paper);padding:.55rem 0;margin:0;border-bottom:1px solid var(--line);font-size:.88rem}
            .legend i{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.45em;\
            background:var(--own)}
            .panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(320px,1fr));gap:.75rem}
            figure{margin:0;background:var(--panel);border-radius:10px;padding:.75rem 1rem}
            figure.wide{grid-column:1/-1}
            figcaption{font-weight:600;font-size:.88rem;margin-bottom:.35rem}\
            figcaption .muted{display:block;font-weight:400;font-size:.8rem}
            figure.good p{color:var(--good);font-size:1.4rem;font-weight:650;margin:0}
            svg{display:block;width:100%;font-size:12.5px}
            svg text{fill:var(--ink)}svg .dim{fill:var(--muted)}
            .bar{fill:var(--own);opacity:.85}.spread{stroke:var(--ink);stroke-width:1.5;opacity:.75}
            .round{fill:var(--ink);opacity:.5}.track{fill:var(--line);opacity:.45}
            .curve{fill:none;stroke:var(--own);stroke-width:2.2;stroke-linejoin:round}
            .curve.ref{stroke-dasharray:6 4}
            .grid{stroke:var(--line);stroke-width:1}
            details{margin-top:2.6rem;border-top:1px solid var(--line);padding-top:1rem}
            summary{font-size:1.3rem;font-weight:600;cursor:pointer}
            .scroll{overflow-x:auto}
            table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}
            th,td{padding:.2rem .7rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
            tbody th{text-align:left;font-weight:400}
            footer{margin-top:2.5rem;color:var(--muted);font-size:.85rem}
            @media print{.legend{position:static}figure{break-inside:avoid}}
            """
    }
}
