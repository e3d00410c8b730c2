using System.Diagnostics.CodeAnalysis;
using System.Reflection;

namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>All kernel files of Saturn, with their argument structs, found by <see cref="KernelArgumentsAttribute"/>.</summary>
public static class BuiltInKernels
{
    /// <summary>The <c>.cu</c> files of <c>kernels/</c>, by name.</summary>
    public static IReadOnlyList<string> FileNames { get; } =
    [
        .. typeof(BuiltInKernels).Assembly.GetManifestResourceNames()
            .Where(name => name.StartsWith(KernelSource.ResourcePrefix, StringComparison.Ordinal) && name.EndsWith(".cu", StringComparison.Ordinal))
            .Select(name => name[KernelSource.ResourcePrefix.Length..])
            .Order(StringComparer.Ordinal),
    ];

    /// <summary>Every file with every argument struct that is marked with its name.</summary>
    /// <exception cref="InvalidOperationException">A struct is marked with a file that does not exist.</exception>
    [RequiresUnreferencedCode("Searches the assembly's types, which trimming may have removed.")]
    public static IReadOnlyList<KernelSource> All()
    {
        ILookup<string, Type> types = typeof(BuiltInKernels).Assembly.GetTypes()
            .SelectMany(type => type.GetCustomAttributes<KernelArgumentsAttribute>().Select(attribute => (attribute.FileName, type)))
            .ToLookup(pair => pair.FileName, pair => pair.type, StringComparer.Ordinal);
        foreach (IGrouping<string, Type> group in types)
        {
            if (!FileNames.Contains(group.Key))
            {
                throw new InvalidOperationException($"{string.Join(", ", group.Select(type => type.Name))}: marked as arguments of '{group.Key}', but kernels/ has no such file.");
            }
        }

        return [.. FileNames.Select(name => KernelSource.BuiltIn(name, [.. types[name]]))];
    }
}
