#pragma warning disable CS1591, CA1822
namespace Saturn.Kernels.Cuda.Compilation;

public sealed class KernelSource
{
    public static KernelSource BuiltIn(string fileName, params Type[] argumentTypes) => new(fileName, "", null, argumentTypes);

    public KernelSource(string fileName, string text, IReadOnlyDictionary<string, string>? headers, params Type[] argumentTypes) =>
        FileName = fileName + text + headers + argumentTypes;

    public string FileName { get; }
}

public readonly record struct KernelTarget(string Architecture);

public sealed class CompiledModule
{
    public byte[] Image { get; } = [];

    public string SourceName => "";
}

public sealed class KernelCompiler : IDisposable
{
    public static KernelCompiler Create() => new();

    public CompiledModule Compile(KernelSource source, KernelTarget target) => throw new NotImplementedException($"{source} {target}");

    public void Dispose()
    {
    }
}

[AttributeUsage(AttributeTargets.Struct)]
public sealed class KernelArgumentsAttribute(string fileName) : Attribute
{
    public string FileName => fileName;
}
