using System.Globalization;
using System.Net;
using System.Text;

namespace Saturn.Training.Reports;

/// <summary>A value on an axis with the ends of its bar.</summary>
/// <param name="Value">Where the point stands.</param>
/// <param name="Low">The lower end.</param>
/// <param name="High">The upper end.</param>
public readonly record struct BarredValue(double Value, double Low, double High);

/// <summary>A point of a scatter chart.</summary>
/// <param name="Label">Shown when the pointer rests on it.</param>
/// <param name="X">Horizontal.</param>
/// <param name="Y">Vertical.</param>
public sealed record ScatterPoint(string Label, BarredValue X, BarredValue Y);

/// <summary>Points of one colour and shape.</summary>
/// <param name="Name">In the legend.</param>
/// <param name="Points">The points.</param>
public sealed record ScatterSeries(string Name, IReadOnlyList<ScatterPoint> Points);

/// <summary>Draws points with bars in both directions as inline SVG; both axes are shares in per cent.</summary>
public static class ScatterChart
{
    private const int Width = 560;
    private const int Height = 340;
    private const int Left = 64;
    private const int Right = 22;
    private const int Top = 14;
    private const int Bottom = 40;
    private const double Cap = 4;

    /// <summary>Draws a chart.</summary>
    /// <param name="title">The heading.</param>
    /// <param name="xLabel">Under the horizontal axis.</param>
    /// <param name="series">Series beyond the palette's colours take them again with another shape; empty ones are left out.</param>
    public static string Draw(string title, string xLabel, IReadOnlyList<ScatterSeries> series)
    {
        ScatterPoint[] all = [.. series.SelectMany(line => line.Points)];
        StringBuilder svg = new();
        svg.Append("<figure class=\"chart\"><figcaption>").Append(Encode(title)).Append("</figcaption>");
        if (all.Length == 0)
        {
            return svg.Append("<p class=\"note\">No data.</p></figure>").ToString();
        }

        double[] ticksX = Ticks(all.Select(point => point.X));
        double[] ticksY = Ticks(all.Select(point => point.Y));
        svg.Append(Invariant($"<svg viewBox=\"0 0 {Width} {Height}\" role=\"img\" aria-label=\"{Encode(title)}\">"));
        foreach (double tick in ticksY)
        {
            svg.Append(Invariant($"<line class=\"grid\" x1=\"{Left}\" x2=\"{Width - Right}\" y1=\"{Y(tick):F1}\" y2=\"{Y(tick):F1}\"/>"));
            svg.Append(Invariant($"<text x=\"{Left - 8}\" y=\"{Y(tick) + 4:F1}\" text-anchor=\"end\">{LineChart.Label(tick, true)}</text>"));
        }

        foreach (double tick in ticksX)
        {
            svg.Append(Invariant($"<line class=\"grid\" x1=\"{X(tick):F1}\" x2=\"{X(tick):F1}\" y1=\"{Top}\" y2=\"{Height - Bottom}\"/>"));
            svg.Append(Invariant($"<text x=\"{X(tick):F1}\" y=\"{Height - Bottom + 18}\" text-anchor=\"middle\">{LineChart.Label(tick, true)}</text>"));
        }

        svg.Append(Invariant($"<text class=\"axis\" x=\"{(Left + Width - Right) / 2}\" y=\"{Height - 6}\" text-anchor=\"middle\">{Encode(xLabel)}</text>"));
        for (int i = 0; i < series.Count; i++)
        {
            foreach (ScatterPoint point in series[i].Points)
            {
                svg.Append(Invariant($"<g class=\"point\" fill=\"{Color(i)}\" stroke=\"{Color(i)}\" stroke-width=\"1.5\"><title>{Encode(series[i].Name)}: {Encode(point.Label)}</title>"));
                AppendBars(svg, X(point.X.Low), X(point.X.High), X(point.X.Value), Y(point.Y.Low), Y(point.Y.High), Y(point.Y.Value));
                svg.Append(Marker(i, X(point.X.Value), Y(point.Y.Value))).Append("</g>");
            }
        }

        svg.Append("</svg><ul class=\"legend\">");
        for (int i = 0; i < series.Count; i++)
        {
            if (series[i].Points.Count > 0)
            {
                svg.Append($"<li><svg style=\"display:inline-block;width:12px;height:12px;margin-right:6px;vertical-align:-1px\" viewBox=\"0 0 12 12\" fill=\"{Color(i)}\">{Marker(i, 6, 6)}</svg>{Encode(series[i].Name)}</li>");
            }
        }

        return svg.Append("</ul></figure>").ToString();

        double X(double value) => Left + (value - ticksX[0]) / (ticksX[^1] - ticksX[0]) * (Width - Left - Right);
        double Y(double value) => Height - Bottom - (value - ticksY[0]) / (ticksY[^1] - ticksY[0]) * (Height - Top - Bottom);
    }

    // Bars of no length, as a single seed has them, are left out: a cap alone would look like a spread.
    private static void AppendBars(StringBuilder svg, double left, double right, double x, double low, double high, double y)
    {
        if (low - high > 0.05)
        {
            svg.Append(Invariant($"<path class=\"bars\" fill=\"none\" d=\"M{x:F1} {low:F1}V{high:F1}M{x - Cap:F1} {low:F1}h{2 * Cap}M{x - Cap:F1} {high:F1}h{2 * Cap}\"/>"));
        }

        if (right - left > 0.05)
        {
            svg.Append(Invariant($"<path class=\"bars\" fill=\"none\" d=\"M{left:F1} {y:F1}H{right:F1}M{left:F1} {y - Cap:F1}v{2 * Cap}M{right:F1} {y - Cap:F1}v{2 * Cap}\"/>"));
        }
    }

    private static string Color(int series) => HtmlPage.Palette[series % HtmlPage.Palette.Count];

    private static string Marker(int series, double x, double y) => (series / HtmlPage.Palette.Count % 3) switch
    {
        0 => Invariant($"<circle cx=\"{x:F1}\" cy=\"{y:F1}\" r=\"4\"/>"),
        1 => Invariant($"<rect x=\"{x - 3.5:F1}\" y=\"{y - 3.5:F1}\" width=\"7\" height=\"7\"/>"),
        _ => Invariant($"<path d=\"M{x:F1} {y - 5:F1}l5 5l-5 5l-5 -5z\"/>"),
    };

    private static double[] Ticks(IEnumerable<BarredValue> values)
    {
        BarredValue[] all = [.. values];
        double low = all.Min(value => value.Low);
        double high = all.Max(value => value.High);

        // Where all points stand in one place, they get an axis of two per cent around it.
        return high - low > 1e-9 ? LineChart.Ticks(low, high) : LineChart.Ticks(low - 0.01, low + 0.01);
    }

    private static string Encode(string text) => WebUtility.HtmlEncode(text);

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
