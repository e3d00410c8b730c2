using System.Net;
using System.Text;

namespace Saturn.Training.Reports;

/// <summary>The frame of every page: one self-contained file, light and dark, without scripts.</summary>
public static class HtmlPage
{
    // Okabe and Ito's palette, which colour-blind readers can tell apart.
    /// <summary>Colours of lines, in their order.</summary>
    public static IReadOnlyList<string> Palette { get; } = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#7F7F7F"];

    internal const string Style = """
        :root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #d9dee6; --card: #f6f8fb; --page: #ffffff; --accent: #0072B2; }
        @media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #9aa6b5; --line: #33404f; --card: #1b232d; --page: #12181f; --accent: #56B4E9; } }
        * { box-sizing: border-box; }
        body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
        main { max-width: 1180px; margin: 0 auto; padding: 32px 24px 64px; }
        h1 { font-size: 28px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 40px 0 12px; }
        .note { color: var(--soft); margin: 0 0 16px; }
        .cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); gap: 12px; }
        .card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 16px; }
        .card b { display: block; font-size: 22px; font-variant-numeric: tabular-nums; } .card span { color: var(--soft); font-size: 13px; }
        .charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); gap: 16px; }
        .chart { margin: 0; width: 100%; max-width: 720px; border: 1px solid var(--line); border-radius: 10px; padding: 12px 14px; }
        .chart figcaption { font-weight: 600; margin-bottom: 4px; } .chart svg { width: 100%; height: auto; display: block; }
        .chart text { font-size: 11px; fill: var(--soft); } .chart .grid { stroke: var(--line); stroke-width: 1; }
        .legend { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 4px 0 0; padding: 0; font-size: 13px; color: var(--soft); }
        .legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
        .scroll { overflow-x: auto; } .scroll + .note { margin-top: 10px; }
        table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
        th, td { text-align: right; padding: 5px 12px; border-bottom: 1px solid var(--line); white-space: nowrap; }
        th:first-child, td:first-child { text-align: left; } th { color: var(--soft); font-weight: 600; }
        .bar { display: inline-block; width: 120px; height: 9px; background: var(--line); border-radius: 5px; overflow: hidden; vertical-align: middle; }
        .bar i { display: block; height: 100%; background: var(--accent); }
        pre { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px; overflow-x: auto; font-size: 13px; }
        @media print { .chart, .card { break-inside: avoid; } }
        """;

    /// <summary>Puts a body into the frame.</summary>
    /// <param name="title">The page's title, plain text.</param>
    /// <param name="body">HTML.</param>
    public static string Complete(string title, StringBuilder body) =>
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>"
        + $"<title>{WebUtility.HtmlEncode(title)} · Saturn</title><style>{Style}</style></head><body><main>{body}</main></body></html>\n";
}
