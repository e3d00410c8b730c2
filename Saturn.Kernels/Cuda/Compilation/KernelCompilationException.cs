using System.Text;

namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>One message of the compiler.</summary>
/// <param name="File">The source file.</param>
/// <param name="Line">The line in it, from 1.</param>
/// <param name="Severity">NVRTC's word: error, warning, catastrophic error.</param>
/// <param name="Message">What the compiler says.</param>
/// <param name="SourceLine">The line itself, or an empty string where the file is not known.</param>
public sealed record KernelDiagnostic(string File, int Line, string Severity, string Message, string SourceLine)
{
    /// <inheritdoc/>
    public override string ToString()
    {
        string place = $"{File}({Line}): {Severity}: {Message}";
        return SourceLine.Length == 0 ? place : $"{place}{Environment.NewLine}    {SourceLine.Trim()}";
    }
}

/// <summary>A <c>.cu</c> file did not compile: an error, a warning (they count as errors), or an argument struct whose layout differs from C#'s.</summary>
public sealed class KernelCompilationException : Exception
{
    internal KernelCompilationException(string sourceName, string architecture, string reason, IReadOnlyList<KernelDiagnostic> diagnostics, string log)
        : base(Describe(sourceName, architecture, reason, diagnostics, log))
    {
        SourceName = sourceName;
        Diagnostics = diagnostics;
        Log = log;
    }

    /// <summary>The <c>.cu</c> file's name.</summary>
    public string SourceName { get; }

    /// <summary>The compiler's messages with their places.</summary>
    public IReadOnlyList<KernelDiagnostic> Diagnostics { get; }

    /// <summary>NVRTC's log as it is.</summary>
    public string Log { get; }

    private static string Describe(string sourceName, string architecture, string reason, IReadOnlyList<KernelDiagnostic> diagnostics, string log)
    {
        StringBuilder text = new($"{sourceName} does not compile for {architecture} ({reason}):");
        foreach (KernelDiagnostic diagnostic in diagnostics)
        {
            text.AppendLine().Append(diagnostic);
        }

        if (diagnostics.Count == 0)
        {
            text.AppendLine().Append(log.Trim());
        }

        return text.ToString();
    }
}
