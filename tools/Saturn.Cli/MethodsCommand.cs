using System.CommandLine;
using Saturn.Prune.Methods;

namespace Saturn.Cli;

/// <summary><c>saturn methods</c>: the pruning methods, or the settings of one.</summary>
internal static class MethodsCommand
{
    public static Command Create()
    {
        Argument<string?> name = new("METHOD") { Description = "The method whose settings are listed.", Arity = ArgumentArity.ZeroOrOne };
        Command command = new("methods", "List the pruning methods, or the settings of one.") { name };
        command.SetAction(result =>
        {
            if (result.GetValue(name) is { } chosen)
            {
                Write(MethodCatalog.Describe(chosen));
                return 0;
            }

            foreach (MethodDescription method in MethodCatalog.Methods)
            {
                Console.WriteLine($"{method.Name,-14} {method.Summary}");
            }

            Console.WriteLine("Train with one: saturn train --method NAME --set SETTING=VALUE. Settings of one: saturn methods NAME.");
            return 0;
        });
        return command;
    }

    private static void Write(MethodDescription method)
    {
        Console.WriteLine($"{method.Name}: {method.Summary}");
        Console.WriteLine($"Source: {method.Source}");
        if (method.Name == "demp")
        {
            Console.WriteLine("Its settings are options of saturn train: --lambda, --noise-std, --prune-every, … (saturn train --help).");
        }

        foreach (MethodSetting setting in method.Settings)
        {
            Console.WriteLine($"  {setting.Name,-18} {setting.Description} (default: {setting.Default})");
        }
    }
}
