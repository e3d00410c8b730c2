using System.CommandLine;
using Saturn.Cli;
using Spectre.Console;

if (Console.IsOutputRedirected)
{
    // A log file gets no colour codes, and lines as long as they are.
    AnsiConsole.Profile.Width = 200;
    AnsiConsole.Profile.Capabilities.Ansi = false;
    AnsiConsole.Profile.Capabilities.ColorSystem = ColorSystem.NoColors;
}

RootCommand root = new("Saturn trains networks while their dead channels are removed, and measures what that is worth. Variables of the environment that it reads: saturn info --environment.");
root.Subcommands.Add(DemoCommand.Create());
root.Subcommands.Add(TrainCommand.Create());
root.Subcommands.Add(SweepCommand.Create());
root.Subcommands.Add(MethodsCommand.Create());
root.Subcommands.Add(LabCommand.Create());
root.Subcommands.Add(EvalCommand.Create());
root.Subcommands.Add(ReportCommand.Create());
root.Subcommands.Add(InfoCommand.Create());
root.Subcommands.Add(BenchCommand.Create());
root.Subcommands.Add(KernelsCommand.Create());

ParseResult parsed = root.Parse(args.Length == 0 ? ["--help"] : args);
if (parsed.Errors.Count > 0)
{
    // One sentence and where to look, instead of a page of help.
    Console.Error.WriteLine("error: " + string.Join(" ", parsed.Errors.Select(error => CommandErrors.InPlainWords(error.Message))) + $" See 'saturn {(parsed.CommandResult.Command == root ? "" : parsed.CommandResult.Command.Name + " ")}--help'.");
    return 2;
}

return CommandErrors.Run(() => parsed.Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false }));
