using System.CommandLine;
using System.Runtime.InteropServices;
using Saturn.Training.Sweeps;

namespace Saturn.Cli;

/// <summary><c>saturn sweep</c>: a grid of runs over worker processes, each a plain <c>saturn train</c> command line with a folder of its own.</summary>
internal static class SweepCommand
{
    public static Command Create()
    {
        Command command = new("sweep", "Run a grid of trainings over worker processes; what has finished is never run twice.");
        Argument<string> file = new("FILE") { Description = "The grid, a JSON file (docs/sweeps.md)." };
        command.Arguments.Add(file);
        Option<string> runs = TrainCommand.Add(command, "--runs", "Folder of all runs; those of the sweep lie in a folder of its name.", "runs");
        Option<int?> workers = TrainCommand.Add<int?>(command, "--workers", "Processes at a time (default: the file's, or 1).", null);
        Option<string?> arm = TrainCommand.Add<string?>(command, "--arm", "Only this arm.", null);
        Option<bool> list = TrainCommand.Add(command, "--list", "Print every run's command line and run nothing.", false);
        Option<bool> status = TrainCommand.Add(command, "--status", "Print how every run stands and run nothing.", false);
        Option<bool> report = TrainCommand.Add(command, "--report", "Write the report of what has finished and run nothing.", false);
        command.SetAction(result =>
        {
            SweepFile sweep = SweepFile.Read(result.GetValue(file)!);
            string folder = Path.Combine(result.GetValue(runs)!, sweep.Name);
            SweepCell[] cells = [.. sweep.Cells.Where(cell => result.GetValue(arm) is not { } only || cell.Arm == only)];
            if (cells.Length == 0)
            {
                throw new ArgumentException($"The sweep has no arm '{result.GetValue(arm)}'; it has {string.Join(", ", sweep.Cells.Select(cell => cell.Arm).Distinct())}.");
            }

            if (result.GetValue(workers) is < 1 and int bad)
            {
                throw new ArgumentException($"--workers must be at least 1, but is {bad}.");
            }

            SweepRunner runner = new(folder, cells);
            if (result.GetValue(list))
            {
                foreach (SweepCell cell in cells)
                {
                    Console.WriteLine("saturn " + string.Join(' ', runner.Arguments(cell).Select(Quote)));
                }

                return 0;
            }

            if (result.GetValue(status))
            {
                foreach (SweepCell cell in cells)
                {
                    Console.WriteLine($"{runner.StatusOf(cell),-8} {cell.Name}");
                }

                return 0;
            }

            int failed = 0;
            PosixSignal? stopped = null;
            if (!result.GetValue(report))
            {
                (failed, stopped) = runner.Run(result.GetValue(workers) ?? sweep.Workers);
            }

            Console.WriteLine($"Report: {SweepResults.Write(sweep.Name, SweepResults.Collect(cells, folder), folder)}");
            return stopped is { } signal
                ? throw new InterruptedException(signal, $"Stopped. Continue with: saturn sweep {Quote(result.GetValue(file)!)}{(result.GetValue(runs) == "runs" ? "" : $" --runs {Quote(result.GetValue(runs)!)}")}")
                : failed > 0 ? 1 : 0;
        });
        return command;
    }

    /// <summary>An argument as a POSIX shell takes it.</summary>
    internal static string Quote(string argument) =>
        argument.Length > 0 && argument.All(character => char.IsAsciiLetterOrDigit(character) || "-_./:=,+@%".Contains(character)) ? argument : "'" + argument.Replace("'", "'\\''") + "'";
}
