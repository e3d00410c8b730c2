using System.Reflection;

namespace Saturn.Cli;

/// <summary>Turns failures into one clear sentence on standard error and an exit code.</summary>
internal static class CommandErrors
{
    /// <summary>Exit code after a failure that the user can mend: bad input, a missing file, a diverged run.</summary>
    public const int Failure = 1;

    /// <summary>Exit code after Ctrl-C; the run's last checkpoint is intact.</summary>
    public const int Interrupted = 130;

    public static int Run(Func<int> command)
    {
        try
        {
            return command();
        }
        catch (OperationCanceledException)
        {
            return Interrupted;
        }
        catch (Exception exception) when (Environment.GetEnvironmentVariable("SATURN_DEBUG") is null or "0" or "")
        {
            while (exception is AggregateException { InnerException: not null } or TargetInvocationException { InnerException: not null })
            {
                exception = exception.InnerException!;
            }

            Console.Error.WriteLine("error: " + exception.Message);
            if (exception is NullReferenceException or IndexOutOfRangeException or InvalidCastException or NotImplementedException)
            {
                Console.Error.WriteLine("This is a fault in Saturn; set SATURN_DEBUG=1 to see where it happened.");
            }

            return Failure;
        }
    }
}
