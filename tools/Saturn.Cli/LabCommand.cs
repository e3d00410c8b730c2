using System.CommandLine;
using Saturn.Prune;
using Saturn.Training.Lab;
using Saturn.Training.Runs;

namespace Saturn.Cli;

/// <summary><c>saturn lab</c>: analyses of why and when units die.</summary>
internal static class LabCommand
{
    public static Command Create()
    {
        Command command = new("lab", "Analyses of why and when units die.");
        command.Subcommands.Add(Deaths());
        command.Subcommands.Add(LabNoiseCommand.Create());
        command.Subcommands.Add(LabWalksCommand.Create());
        return command;
    }

    private static Command Deaths()
    {
        Command command = new("deaths", "Dead units over time, of runs that were trained with --count-dead.");
        Argument<string[]> names = new("runs") { Description = "Names or folders of runs; layers are shown of the last.", Arity = ArgumentArity.OneOrMore };
        command.Arguments.Add(names);
        Option<string> runs = TrainCommand.Add(command, "--runs", "Folder of all runs.", "runs");
        Option<string> title = TrainCommand.Add(command, "--title", "Heading of the page, and the files' name.", "deaths");
        Option<string> output = TrainCommand.Add(command, "--out", "Folder that takes the page and the table.", "lab");
        command.SetAction(result =>
        {
            DeathCurve[] curves = [.. result.GetValue(names)!.Select(name => DeathReport.Read(EvalCommand.Open(result.GetValue(runs)!, name)))];
            foreach (DeathCurve curve in curves)
            {
                Console.WriteLine(Line(curve));
            }

            Write(result.GetValue(output)!, result.GetValue(title)!, curves);
            return 0;
        });
        return command;
    }

    /// <summary>A run's deaths in one line.</summary>
    internal static string Line(DeathCurve curve)
    {
        DeathCount last = curve.Counts[^1];
        return FormattableString.Invariant($"{curve.Name}: {last.Dead} of {last.Units} dead at the end, {last.EverDead} ever, {curve.Counts.Sum(count => count.Revived)} revivals")
            + (last.Overlap is { } overlap ? FormattableString.Invariant($", overlap {overlap * 100:0.0} %") : "");
    }

    /// <summary>Writes the table and the page.</summary>
    internal static void Write(string folder, string name, IReadOnlyList<DeathCurve> curves)
    {
        Directory.CreateDirectory(folder);
        string path = Path.Combine(folder, name);
        AtomicFile.WriteText(path + ".csv", DeathReport.Csv(curves));
        AtomicFile.WriteText(path + ".html", DeathReport.Page(name, curves));
        Console.WriteLine($"Report: {Path.GetFullPath(path + ".html")}");
    }
}
