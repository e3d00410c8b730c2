using System.Globalization;
using System.Net;
using System.Text;

namespace Saturn.Training.Reports;

/// <summary>A point with the spread of both coordinates.</summary>
/// <param name="X">A share.</param>
/// <param name="Y">A share.</param>
/// <param name="SpreadX">Half the length of the horizontal bar.</param>
/// <param name="SpreadY">Half the length of the vertical bar.</param>
public sealed record ScatterPoint(double X, double Y, double SpreadX, double SpreadY);

/// <summary>Points of one kind.</summary>
/// <param name="Name">In the legend.</param>
/// <param name="Color">A CSS colour.</param>
/// <param name="Points">The points; a thin line joins them in the order of x.</param>
public sealed record ScatterSeries(string Name, string Color, IReadOnlyList<ScatterPoint> Points);

/// <summary>Draws shares against shares as inline SVG, with error bars.</summary>
public static class ScatterChart
{
    private const int Width = 560;
    private const int Height = 320;
    private const int Left = 58;
    private const int Right = 14;
    private const int Top = 14;
    private const int Bottom = 40;

    /// <summary>Draws a chart.</summary>
    public static string Draw(string title, string xLabel, IReadOnlyList<ScatterSeries> series)
    {
        StringBuilder svg = new($"<figure class=\"chart\"><figcaption>{WebUtility.HtmlEncode(title)}</figcaption>");
        ScatterPoint[] all = [.. series.SelectMany(one => one.Points).Where(point => double.IsFinite(point.X) && double.IsFinite(point.Y))];
        if (all.Length == 0)
        {
            return svg.Append("<p class=\"note\">No data.</p></figure>").ToString();
        }

        double[] ticksX = Ticks(all.Min(point => point.X - point.SpreadX), all.Max(point => point.X + point.SpreadX));
        double[] ticksY = Ticks(all.Min(point => point.Y - point.SpreadY), all.Max(point => point.Y + point.SpreadY));
        svg.Append(CultureInfo.InvariantCulture, $"<svg viewBox=\"0 0 {Width} {Height}\" role=\"img\" aria-label=\"{WebUtility.HtmlEncode(title)}\">");
        foreach (double tick in ticksY)
        {
            svg.Append(CultureInfo.InvariantCulture, $"<line class=\"grid\" x1=\"{Left}\" x2=\"{Width - Right}\" y1=\"{Y(tick):F1}\" y2=\"{Y(tick):F1}\"/><text x=\"{Left - 8}\" y=\"{Y(tick) + 4:F1}\" text-anchor=\"end\">{LineChart.Label(tick, true)}</text>");
        }

        foreach (double tick in ticksX)
        {
            svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{X(tick):F1}\" y=\"{Height - Bottom + 18}\" text-anchor=\"middle\">{LineChart.Label(tick, true)}</text>");
        }

        svg.Append(CultureInfo.InvariantCulture, $"<text class=\"axis\" x=\"{(Left + Width - Right) / 2}\" y=\"{Height - 6}\" text-anchor=\"middle\">{WebUtility.HtmlEncode(xLabel)}</text>");
        foreach (ScatterSeries one in series.Where(one => one.Points.Count > 0))
        {
            ScatterPoint[] points = [.. one.Points.OrderBy(point => point.X)];
            string line = string.Join(' ', points.Select(point => string.Create(CultureInfo.InvariantCulture, $"{X(point.X):F1},{Y(point.Y):F1}")));
            svg.Append($"<polyline fill=\"none\" stroke=\"{one.Color}\" stroke-opacity=\"0.35\" points=\"{line}\"/>");
            foreach (ScatterPoint point in points)
            {
                svg.Append(CultureInfo.InvariantCulture, $"<path stroke=\"{one.Color}\" d=\"M{X(point.X - point.SpreadX):F1} {Y(point.Y):F1}H{X(point.X + point.SpreadX):F1}M{X(point.X):F1} {Y(point.Y - point.SpreadY):F1}V{Y(point.Y + point.SpreadY):F1}\"/>");
                svg.Append(CultureInfo.InvariantCulture, $"<circle cx=\"{X(point.X):F1}\" cy=\"{Y(point.Y):F1}\" r=\"4\" fill=\"{one.Color}\"/>");
            }
        }

        svg.Append("</svg><ul class=\"legend\">");
        foreach (ScatterSeries one in series.Where(one => one.Points.Count > 0))
        {
            svg.Append($"<li><i style=\"background:{one.Color}\"></i>{WebUtility.HtmlEncode(one.Name)}</li>");
        }

        return svg.Append("</ul></figure>").ToString();

        double X(double value) => Left + (value - ticksX[0]) / (ticksX[^1] - ticksX[0]) * (Width - Left - Right);
        double Y(double value) => Height - Bottom - (value - ticksY[0]) / (ticksY[^1] - ticksY[0]) * (Height - Top - Bottom);

        static double[] Ticks(double low, double high) => LineChart.Ticks(low, Math.Max(high, low + 0.01));
    }
}
