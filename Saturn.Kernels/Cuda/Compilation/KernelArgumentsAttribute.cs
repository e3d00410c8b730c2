namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>
/// Marks an argument struct of a kernel with the <c>.cu</c> file that declares its counterpart, so that the tests and <c>saturn kernels</c> find every pair. A struct that several files
/// declare has the attribute several times.
/// </summary>
/// <param name="fileName">The file in <c>kernels/</c>, such as <c>elementwise.cu</c>.</param>
[AttributeUsage(AttributeTargets.Struct, AllowMultiple = true, Inherited = false)]
public sealed class KernelArgumentsAttribute(string fileName) : Attribute
{
    /// <summary>The file in <c>kernels/</c>.</summary>
    public string FileName => fileName;
}
