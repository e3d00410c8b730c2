using System.Reflection;
using System.Text.RegularExpressions;
using Saturn.Engine;
using Saturn.Kernels.Diagnostics;

namespace Saturn.Cli;

/// <summary>Turns failures into one clear sentence on standard error and an exit code.</summary>
internal static partial class CommandErrors
{
    /// <summary>Exit code after a failure that the user can mend: bad input, a missing file, a diverged run.</summary>
    public const int Failure = 1;

    public static int Run(Func<int> command)
    {
        try
        {
            return command();
        }
        catch (InterruptedException interrupted)
        {
            Console.Error.WriteLine(interrupted.Message);
            return interrupted.ExitCode;
        }
        catch (Exception exception)
        {
            if (EnvironmentVariable.Debug.IsOn)
            {
                Console.Error.WriteLine(exception);
            }

            while (exception is AggregateException { InnerException: not null } or TargetInvocationException { InnerException: not null })
            {
                exception = exception.InnerException!;
            }

            Console.Error.WriteLine("error: " + exception.Message);
            if (exception is NullReferenceException or IndexOutOfRangeException or InvalidCastException or NotImplementedException or ArgumentNullException)
            {
                Console.Error.WriteLine($"This is a fault in Saturn; set {EnvironmentVariable.Debug.Name}=1 to see where it happened.");
            }

            return Failure;
        }
        finally
        {
            if (EnvironmentVariable.Leaks.IsOn)
            {
                Console.Error.WriteLine(LiveTensors.Describe());
            }
        }
    }

    /// <summary>The parser's complaint about a value of the wrong type names types of the runtime; everything else passes.</summary>
    public static string InPlainWords(string message) =>
        WrongType().Match(message) is { Success: true } match
            ? $"{match.Groups["option"]} must be {(match.Groups["type"].Value.Contains("Double", StringComparison.Ordinal) ? "a number" : "a whole number")}{(match.Groups["type"].Value.Contains("UInt", StringComparison.Ordinal) ? ", 0 or above" : "")}, but is '{match.Groups["value"]}'."
            : message;

    [GeneratedRegex("^Cannot parse argument '(?<value>.*)' for option '(?<option>.*)' as expected type '(?<type>.*)'.$")]
    private static partial Regex WrongType();
}
