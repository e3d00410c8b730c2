using System.CommandLine;
using System.Globalization;
using System.Text;
using Saturn.Kernels;
using Saturn.Training;
using Saturn.Training.Lab;
using Saturn.Training.Reports;
using Saturn.Training.Runs;

namespace Saturn.Cli;

/// <summary><c>saturn lab walks</c>: the two random walks behind the theory, against their formulas.</summary>
internal static class LabWalksCommand
{
    public static Command Create()
    {
        Command command = new("walks", "The paper's two random-walk models, simulated and compared with theory: absorption at 0, and multiplicative noise.");
        Option<int> walkers = TrainCommand.Add(command, "--walkers", "Walkers.", 100_000);
        Option<int> steps = TrainCommand.Add(command, "--steps", "Steps of the absorbed walk; the other takes a tenth.", 1000);
        Option<double> distance = TrainCommand.Add(command, "--distance", "Distance from death at the start.", 0.5);
        Option<double> rate = TrainCommand.Add(command, "--lr", "Variance of a step of the absorbed walk.", 0.01);
        Option<ulong> seed = TrainCommand.Add<ulong>(command, "--seed", "Seed.", 0);
        Option<string> device = TrainCommand.Add(command, "--device", "Where to run.", Devices.Default);
        Option<string> output = TrainCommand.Add(command, "--out", "Folder that takes the page and the tables.", "lab");
        command.SetAction(result =>
        {
            using Device where = Devices.Open(result.GetValue(device)!, null);
            var survival = RandomWalks.Survival(
                where, result.GetValue(walkers), result.GetValue(steps), result.GetValue(distance), result.GetValue(rate), seed: result.GetValue(seed));
            List<GrowthPoint> growth = [];
            foreach (var (eta, curvature, noise) in new[] { (0.1, 1.0, 1.0), (0.1, 1.0, 5.0), (0.1, 0.0, 5.0), (0.1, 0.0, 10.0), (0.1, 0.0, 20.0), (0.1, -1.0, 5.0), (0.5, 1.0, 3.0), (0.5, 4.5, 0.5) })
            {
                growth.Add(RandomWalks.Growth(where, result.GetValue(walkers), Math.Max(1, result.GetValue(steps) / 10), eta, curvature, noise, result.GetValue(seed)));
            }

            Write(result.GetValue(output)!, survival, growth);
            return 0;
        });
        return command;
    }

    private static void Write(string folder, IReadOnlyList<SurvivalPoint> survival, IReadOnlyList<GrowthPoint> growth)
    {
        StringBuilder csv = new("step,survivors,without_bridge,theory,standard_error\n");
        foreach (SurvivalPoint point in survival)
        {
            csv.Append(CultureInfo.InvariantCulture, $"{point.Step},{point.Survivors},{point.WithoutBridge},{point.Theory},{point.StandardError}\n");
        }

        StringBuilder table = new("lr,curvature,noise,measured,theory,standard_error,second_moment\n");
        StringBuilder html = new("<h1>Random walks</h1><div class=\"charts\">");
        html.Append(LineChart.Draw(
            "Survivors of a walk that dies at 0", "step",
            [
                Line("erf(w₀/√(2ηt))", 0, point => point.Theory), Line("simulated, with crossings between steps", 1, point => point.Survivors),
                Line("simulated, steps alone", 2, point => point.WithoutBridge),
            ],
            percent: true, fromZero: true));
        html.Append("</div><h2>Multiplicative noise</h2><div class=\"scroll\"><table><tr><th>η</th><th>h</th><th>s</th><th>ln|w|/t measured</th><th>E ln|1 − η(h + ζ)|</th><th>standard error</th><th>E w² factor</th><th>almost every walker</th></tr>");
        Console.WriteLine("Survivors of a walk that dies at 0:");
        Console.WriteLine("    step  simulated  steps alone     theory   standard errors off");
        foreach (SurvivalPoint point in survival.Where((_, i) => i % 4 == 3))
        {
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"{point.Step,8}  {point.Survivors,9:P2}  {point.WithoutBridge,11:P2}  {point.Theory,9:P2}  {(point.Survivors - point.Theory) / point.StandardError,10:F2}"));
        }

        Console.WriteLine("Growth ln|w|/t under multiplicative noise:");
        Console.WriteLine("      lr     h      s   measured     theory   E w² factor");
        foreach (GrowthPoint point in growth)
        {
            table.Append(CultureInfo.InvariantCulture, $"{point.LearningRate},{point.Curvature},{point.Noise},{point.Measured},{point.Theory},{point.StandardError},{point.SecondMoment}\n");
            html.Append(CultureInfo.InvariantCulture, $"<tr><td>{point.LearningRate:g}</td><td>{point.Curvature:g}</td><td>{point.Noise:g}</td><td>{point.Measured:F5}</td><td>{point.Theory:F5}</td><td>{point.StandardError:F5}</td><td>{point.SecondMoment:F3}</td><td>{(point.Theory < 0 ? "vanishes" : "escapes")}</td></tr>");
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"{point.LearningRate,8:g} {point.Curvature,5:g} {point.Noise,6:g} {point.Measured,10:F5} {point.Theory,10:F5}  {point.SecondMoment,12:F3}"));
        }

        Directory.CreateDirectory(folder);
        AtomicFile.WriteText(Path.Combine(folder, "walks-survival.csv"), csv.ToString());
        AtomicFile.WriteText(Path.Combine(folder, "walks-growth.csv"), table.ToString());
        string path = Path.Combine(folder, "walks.html");
        AtomicFile.WriteText(path, HtmlPage.Complete("Random walks", html.Append("</table></div>")));
        Console.WriteLine($"Report: {Path.GetFullPath(path)}");

        ChartSeries Line(string name, int color, Func<SurvivalPoint, double> value) => new(name, HtmlPage.Palette[color], [.. survival.Select(point => ((double)point.Step, value(point)))]);
    }
}
