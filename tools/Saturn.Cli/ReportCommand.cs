using System.CommandLine;
using Saturn.Training.Reports;
using Saturn.Training.Runs;

namespace Saturn.Cli;

/// <summary><c>saturn report</c>: rebuilds a run's page, or one that compares several runs.</summary>
internal static class ReportCommand
{
    public static Command Create()
    {
        Command command = new("report", "Write the report page of a run, or of several side by side (into the last one's folder).");
        Argument<string[]> names = new("runs") { Description = "Names or folders of runs; the last one is the subject.", Arity = ArgumentArity.OneOrMore };
        command.Arguments.Add(names);
        Option<string> runs = TrainCommand.Add(command, "--runs", "Folder of all runs.", "runs");
        command.SetAction(result =>
        {
            RunFolder[] folders = [.. result.GetValue(names)!.Select(name => EvalCommand.Open(result.GetValue(runs)!, name))];
            Console.WriteLine($"Report: {HtmlReport.Write(folders)}");
            return 0;
        });
        return command;
    }
}
