using System.Collections.Concurrent;
using System.Reflection;
using System.Text.RegularExpressions;

namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>
/// One <c>.cu</c> file with the headers it includes, and the C# structs that its kernels take. The <c>.cu</c> file declares each struct itself, with the same name and with the C# field names whose first
/// letter is lowered; text generated from the C# types is appended to it and makes any difference in size, offset or type a compile error.
/// </summary>
public sealed partial class KernelSource
{
    internal const string ResourcePrefix = "kernels/";

    private static readonly ConcurrentDictionary<string, string?> Embedded = new(StringComparer.Ordinal);

    private readonly Lazy<string> layoutChecks;

    /// <summary>A <c>.cu</c> file of one's own.</summary>
    /// <param name="fileName">The name that messages use.</param>
    /// <param name="text">CUDA C++.</param>
    /// <param name="headers">Headers by the name in <c>#include</c>; Saturn's own, such as <c>common.cuh</c>, need not be given.</param>
    /// <param name="argumentTypes">The C# structs of the kernels' arguments.</param>
    public KernelSource(string fileName, string text, IReadOnlyDictionary<string, string>? headers, params Type[] argumentTypes)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(fileName);
        ArgumentNullException.ThrowIfNull(text);
        ArgumentNullException.ThrowIfNull(argumentTypes);
        FileName = fileName;
        Text = text;
        Headers = Collect(text, headers);
        ArgumentTypes = [.. argumentTypes.Distinct().OrderBy(type => type.Name, StringComparer.Ordinal)];
        layoutChecks = new Lazy<string>(() => KernelLayout.Checks(ArgumentTypes));
    }

    /// <summary>One of Saturn's own files in <c>kernels/</c>, which are part of this assembly.</summary>
    /// <param name="fileName">The file's name, such as <c>elementwise.cu</c>.</param>
    /// <param name="argumentTypes">The C# structs of its kernels' arguments, each marked with <see cref="KernelArgumentsAttribute"/> for this file.</param>
    public static KernelSource BuiltIn(string fileName, params Type[] argumentTypes)
    {
        string text = EmbeddedText(fileName)
            ?? throw new ArgumentException($"There is no kernel file '{fileName}'; there are {string.Join(", ", BuiltInKernels.FileNames)}.", nameof(fileName));
        foreach (Type type in argumentTypes)
        {
            if (!type.GetCustomAttributes<KernelArgumentsAttribute>().Any(attribute => attribute.FileName == fileName))
            {
                throw new ArgumentException($"{type.Name} is an argument struct of {fileName} and must be marked [KernelArguments(\"{fileName}\")], so that the tests find it.", nameof(argumentTypes));
            }
        }

        return new KernelSource(fileName, text, null, argumentTypes);
    }

    /// <summary>The same file and argument structs with another text, whose unknown headers are looked for among Saturn's own.</summary>
    public KernelSource WithText(string text) => new(FileName, text, null, [.. ArgumentTypes]);

    /// <summary>The file's name in messages and in the image.</summary>
    public string FileName { get; }

    /// <summary>The file as it stands.</summary>
    public string Text { get; }

    /// <summary>The headers that it includes, directly or not, by name.</summary>
    public IReadOnlyDictionary<string, string> Headers { get; }

    /// <summary>The C# structs of the kernels' arguments, by name.</summary>
    public IReadOnlyList<Type> ArgumentTypes { get; }

    /// <summary>What is appended to the file: assertions that its argument structs are laid out as the C# ones.</summary>
    public string LayoutChecks => layoutChecks.Value;

    /// <inheritdoc/>
    public override string ToString() => FileName;

    /// <summary>The text that a compiler's message names, or null.</summary>
    internal string? TextOf(string name) =>
        name == FileName ? Text : Headers.GetValueOrDefault(name) ?? ArgumentTypes.Where(type => KernelLayout.FileName(type) == name).Select(KernelLayout.Lines).FirstOrDefault();

    // The file and all it includes, in the order of their names, so that a cache key covers nothing else.
    private static SortedDictionary<string, string> Collect(string text, IReadOnlyDictionary<string, string>? headers)
    {
        SortedDictionary<string, string> found = new(StringComparer.Ordinal);
        Stack<string> open = new([text]);
        while (open.TryPop(out string? current))
        {
            foreach (Match include in IncludeLine().Matches(current))
            {
                string name = include.Groups["name"].Value;
                // An unknown header is left to the compiler, which may skip it behind an #if or names the line.
                if (!found.ContainsKey(name) && (headers?.GetValueOrDefault(name) ?? EmbeddedText(name)) is { } header)
                {
                    found.Add(name, header);
                    open.Push(header);
                }
            }
        }

        return found;
    }

    private static string? EmbeddedText(string name) => Embedded.GetOrAdd(name, static name =>
    {
        using Stream? stream = typeof(KernelSource).Assembly.GetManifestResourceStream(ResourcePrefix + name);
        return stream is null ? null : new StreamReader(stream).ReadToEnd();
    });

    [GeneratedRegex("""^[ \t]*#[ \t]*include[ \t]*[<"](?<name>[^>"\r\n]+)[>"]""", RegexOptions.Multiline)]
    private static partial Regex IncludeLine();
}
