using System.CommandLine;
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
            string heading = result.GetValue(title)!;
            string folder = result.GetValue(output)!;
            Directory.CreateDirectory(folder);
            string path = Path.Combine(folder, heading);
            AtomicFile.WriteText(path + ".csv", DeathReport.Csv(curves));
            AtomicFile.WriteText(path + ".html", DeathReport.Page(heading, curves));
            foreach (DeathCurve curve in curves)
            {
                var last = curve.Counts[^1];
                Console.WriteLine(
                    FormattableString.Invariant($"{curve.Name}: {last.Dead} of {last.Units} dead at the end, {last.EverDead} ever, {curve.Counts.Sum(count => count.Revived)} revivals") +
                    (last.Overlap is { } overlap ? FormattableString.Invariant($", overlap {overlap:P1}") : ""));
            }

            Console.WriteLine($"Report: {Path.GetFullPath(path + ".html")}");
            return 0;
        });
        return command;
    }
}
