using System.CommandLine;
using Saturn.Training;
using Saturn.Training.Sweeps;
using Spectre.Console;

namespace Saturn.Cli;

/// <summary><c>saturn sweep</c>: a grid of training runs over local processes, and accuracy against sparsity from their results.</summary>
internal static class SweepCommand
{
    public static Command Create()
    {
        Command command = new("sweep", "Train a grid of runs, several seeds each, in processes of their own, and draw accuracy against sparsity. It goes on where it stopped; no finished run is repeated.");
        Argument<string> path = new("file") { Description = "The sweep: a JSON file with arms, axes and seeds (docs/sweeps.md)." };
        command.Arguments.Add(path);
        Option<string> runs = TrainCommand.Add(command, "--runs", "Folder of all runs; those of the sweep stand in RUNS/NAME.", "runs");
        Option<int?> workers = TrainCommand.Add<int?>(command, "--workers", "Processes at a time (default: the file's).", null);
        Option<string?> arm = TrainCommand.Add<string?>(command, "--arm", "Only the cells of this arm; the report has all of them.", null);
        Option<bool> list = TrainCommand.Add(command, "--list", "Print every cell's command line, one a line, quoted for a shell, and run nothing.", false);
        Option<bool> status = TrainCommand.Add(command, "--status", "Show which cells are done, running, stopped, failed or waiting, and run nothing.", false);
        Option<bool> report = TrainCommand.Add(command, "--report", "Write the report from the summaries that are there, and run nothing.", false);
        Option<bool> overwrite = TrainCommand.Add(command, "--overwrite", "Train cells anew whose run was made with other options than the file's.", false);
        command.SetAction(result =>
        {
            if (new[] { list, status, report }.Count(result.GetValue) > 1)
            {
                throw new ArgumentException("--list, --status and --report are different things to do; give one of them.");
            }

            if (result.GetValue(workers) is < 1)
            {
                throw new ArgumentException($"--workers must be at least 1, but is {result.GetValue(workers)}.");
            }

            string name = result.GetValue(path)!;
            SweepFile file = SweepFile.Read(name, Environment.GetEnvironmentVariable);
            SweepFolder folder = new(Path.Combine(result.GetValue(runs)!, file.Name));
            IReadOnlyList<PlannedCell> all = Plan(file, name, folder);
            IReadOnlyList<PlannedCell> chosen = all;
            if (result.GetValue(arm) is { } only)
            {
                chosen = [.. all.Where(planned => planned.Cell.Arm == only)];
                if (chosen.Count == 0)
                {
                    throw new ArgumentException($"The sweep '{name}' has no arm '{only}'; the nearest one is '{NearestName.Of(only, file.Arms.Select(own => own.Name))}'.");
                }
            }

            if (result.GetValue(list))
            {
                foreach (PlannedCell planned in chosen)
                {
                    Console.WriteLine(ShellWords.Join([.. CellProcess.Program, .. planned.Cell.Arguments(folder.Path)]));
                }

                return 0;
            }

            if (result.GetValue(status))
            {
                WriteStatus(file.Name, chosen, folder);
                return 0;
            }

            if (result.GetValue(report))
            {
                WriteReport();
                return 0;
            }

            if (!result.GetValue(overwrite))
            {
                RequireUnchanged(chosen, folder);
            }

            string[] words = [name, .. Given("--runs", result.GetValue(runs), "runs"), .. Given("--workers", $"{result.GetValue(workers)}", ""), .. Given("--arm", result.GetValue(arm), null)];
            SweepRunner runner = new(folder, chosen, result.GetValue(workers) ?? file.Workers);
            try
            {
                return runner.Run($"saturn sweep {ShellWords.Join(words)}");
            }
            finally
            {
                WriteReport();
            }

            void WriteReport() => Console.WriteLine($"Report: {SweepReport.Write(SweepResults.Collect(file.Name, all, folder), folder)}");
            static string[] Given(string option, string? value, string? usual) => value is null || value == usual ? [] : [option, value];
        });
        return command;
    }

    /// <summary>Reads each cell's command line as <c>saturn train</c> would, so that a bad one is refused before anything runs.</summary>
    private static List<PlannedCell> Plan(SweepFile file, string name, SweepFolder folder)
    {
        TrainingOptions? options = null;
        Command train = TrainCommand.Create((parsed, _, _) =>
        {
            options = parsed;
            return 0;
        });
        file.RequireKnown(train.Options.Select(option => option.Name.TrimStart('-')));
        List<PlannedCell> cells = [];
        foreach (SweepCell cell in SweepCell.Expand(file))
        {
            ParseResult parsed = train.Parse([.. cell.Arguments(folder.Path).Skip(1)]);
            string? problem = parsed.Errors.Count > 0 ? string.Join(" ", parsed.Errors.Select(error => CommandErrors.InPlainWords(error.Message))) : null;
            try
            {
                if (problem is null)
                {
                    parsed.Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
                }
            }
            catch (ArgumentException exception)
            {
                problem = exception.Message;
            }

            if (problem is not null)
            {
                throw new InvalidDataException($"The sweep file '{name}' cannot be used: the arm '{cell.Arm}' makes the run '{cell.Name}', for which {problem}");
            }

            cells.Add(new PlannedCell(cell, options!));
        }

        return cells;
    }

    private static void RequireUnchanged(IReadOnlyList<PlannedCell> cells, SweepFolder folder)
    {
        PlannedCell[] changed = [.. cells.Where(planned => folder.Differences(planned).Count > 0)];
        if (changed.Length > 0)
        {
            string others = changed.Length > 1 ? $" (and {changed.Length - 1} more)" : "";
            throw new InvalidOperationException(
                $"The sweep file has changed since the run '{folder.RunPath(changed[0].Cell)}'{others} was made: {string.Join(", ", folder.Differences(changed[0]).Take(3))}; give the sweep another \"name\", undo the change, or train such cells anew with --overwrite.");
        }
    }

    private static void WriteStatus(string name, IReadOnlyList<PlannedCell> cells, SweepFolder folder)
    {
        (SweepCell Cell, CellState State)[] states = [.. cells.Select(planned => (planned.Cell, folder.State(planned)))];
        Table table = new() { Title = new TableTitle(Markup.Escape(name)), Border = TableBorder.Rounded };
        table.AddColumn("cell");
        table.AddColumn("state");
        foreach (var (cell, state) in states)
        {
            table.AddRow(Markup.Escape(cell.Name), SweepReport.Describe(state) + (state == CellState.Failed ? Markup.Escape($", see {folder.LogPath(cell)}") : ""));
        }

        AnsiConsole.Write(table);
        Console.WriteLine(string.Join(", ", states.GroupBy(cell => cell.State).OrderByDescending(group => group.Key).Select(group => $"{group.Count()} {SweepReport.Describe(group.Key)}")));
    }
}
