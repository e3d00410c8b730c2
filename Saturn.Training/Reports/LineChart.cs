using System.Globalization;
using System.Net;
using System.Text;

namespace Saturn.Training.Reports;

/// <summary>One line of a chart.</summary>
/// <param name="Name">In the legend.</param>
/// <param name="Color">A CSS colour.</param>
/// <param name="Points">x and y.</param>
public sealed record ChartSeries(string Name, string Color, IReadOnlyList<(double X, double Y)> Points);

/// <summary>Draws line charts as inline SVG: axes with round ticks, a light grid, and a legend under the plot.</summary>
public static class LineChart
{
    private const int Width = 560;
    private const int Height = 260;
    private const int Left = 58;
    private const int Right = 14;
    private const int Top = 14;
    private const int Bottom = 40;

    /// <summary>Draws a chart.</summary>
    /// <param name="title">The heading.</param>
    /// <param name="xLabel">Under the horizontal axis.</param>
    /// <param name="series">The lines; empty ones are left out.</param>
    /// <param name="percent">Whether the vertical axis is a share, shown in per cent.</param>
    /// <param name="fromZero">Whether the vertical axis begins at 0.</param>
    public static string Draw(string title, string xLabel, IReadOnlyList<ChartSeries> series, bool percent = false, bool fromZero = false)
    {
        (double X, double Y)[] all = [.. series.SelectMany(line => line.Points).Where(point => double.IsFinite(point.Y))];
        StringBuilder svg = new();
        svg.Append("<figure class=\"chart\"><figcaption>").Append(WebUtility.HtmlEncode(title)).Append("</figcaption>");
        if (all.Length == 0)
        {
            return svg.Append("<p class=\"note\">No data.</p></figure>").ToString();
        }

        double lowX = all.Min(point => point.X);
        double highX = all.Max(point => point.X);
        double lowY = fromZero ? 0 : all.Min(point => point.Y);
        double highY = all.Max(point => point.Y);
        if (highX == lowX)
        {
            highX = lowX + 1;
        }

        double[] ticksY = Ticks(lowY, highY == lowY ? lowY + Math.Max(Math.Abs(lowY) * 0.1, 1e-9) : highY);
        lowY = ticksY[0];
        highY = ticksY[^1];
        svg.Append(Invariant($"<svg viewBox=\"0 0 {Width} {Height}\" role=\"img\" aria-label=\"{WebUtility.HtmlEncode(title)}\">"));
        foreach (double tick in ticksY)
        {
            svg.Append(Invariant($"<line class=\"grid\" x1=\"{Left}\" x2=\"{Width - Right}\" y1=\"{Y(tick):F1}\" y2=\"{Y(tick):F1}\"/>"));
            svg.Append(Invariant($"<text x=\"{Left - 8}\" y=\"{Y(tick) + 4:F1}\" text-anchor=\"end\">{Label(tick, percent)}</text>"));
        }

        foreach (double tick in Ticks(lowX, highX).Where(tick => tick >= lowX && tick <= highX))
        {
            svg.Append(Invariant($"<text x=\"{X(tick):F1}\" y=\"{Height - Bottom + 18}\" text-anchor=\"middle\">{Label(tick, false)}</text>"));
        }

        svg.Append(Invariant($"<text class=\"axis\" x=\"{(Left + Width - Right) / 2}\" y=\"{Height - 6}\" text-anchor=\"middle\">{WebUtility.HtmlEncode(xLabel)}</text>"));
        foreach (ChartSeries line in series.Where(line => line.Points.Count > 0))
        {
            string points = string.Join(' ', line.Points.Where(point => double.IsFinite(point.Y)).Select(point => Invariant($"{X(point.X):F1},{Y(point.Y):F1}")));
            svg.Append($"<polyline fill=\"none\" stroke=\"{line.Color}\" stroke-width=\"2\" stroke-linejoin=\"round\" points=\"{points}\"/>");
            foreach (var (x, y) in line.Points.Count <= 12 ? line.Points : [])
            {
                svg.Append(Invariant($"<circle cx=\"{X(x):F1}\" cy=\"{Y(y):F1}\" r=\"3\" fill=\"{line.Color}\"/>"));
            }
        }

        svg.Append("</svg><ul class=\"legend\">");
        foreach (ChartSeries line in series.Where(line => line.Points.Count > 0))
        {
            svg.Append($"<li><i style=\"background:{line.Color}\"></i>{WebUtility.HtmlEncode(line.Name)}</li>");
        }

        return svg.Append("</ul></figure>").ToString();

        double X(double value) => Left + (value - lowX) / (highX - lowX) * (Width - Left - Right);
        double Y(double value) => Height - Bottom - (value - lowY) / (highY - lowY) * (Height - Top - Bottom);
    }

    /// <summary>Four to eight round numbers that enclose a range.</summary>
    internal static double[] Ticks(double low, double high)
    {
        double raw = (high - low) / 5;
        double magnitude = Math.Pow(10, Math.Floor(Math.Log10(raw)));
        double step = magnitude * (raw / magnitude) switch { <= 1 => 1, <= 2 => 2, <= 5 => 5, _ => 10 };
        double first = Math.Floor(low / step + 1e-9);
        double last = Math.Ceiling(high / step - 1e-9);
        return [.. Enumerable.Range(0, (int)(last - first) + 1).Select(i => (first + i) * step)];
    }

    internal static string Label(double value, bool percent)
    {
        if (percent)
        {
            return Invariant($"{value * 100:0.##} %");
        }

        double size = Math.Abs(value);
        return size is >= 10_000 ? Invariant($"{value / 1000:0.#}k") : size is > 0 and < 1e-3 ? value.ToString("0.#e0", CultureInfo.InvariantCulture) : Invariant($"{value:0.####}");
    }

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
