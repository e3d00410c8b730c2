using Saturn.Kernels.Cuda.Compilation;

namespace Saturn.Kernels.Cuda;

/// <summary>Another text for one of the files of <c>kernels/</c>, which a device compiles in the file's place.</summary>
public sealed record KernelReplacement
{
    /// <summary>Names the file and gives the text.</summary>
    /// <param name="fileName">One of <see cref="BuiltInKernels.FileNames"/>.</param>
    /// <param name="text">CUDA C++ with the same kernels and argument structs.</param>
    /// <exception cref="ArgumentException">There is no such file; the message lists those that there are.</exception>
    public KernelReplacement(string fileName, string text)
    {
        if (!BuiltInKernels.FileNames.Contains(fileName))
        {
            throw new ArgumentException($"Saturn has no kernel file '{fileName}' that could be replaced; there are {string.Join(", ", BuiltInKernels.FileNames)}.");
        }

        (FileName, Text) = (fileName, text);
    }

    /// <summary>The file's name, such as <c>elementwise.cu</c>.</summary>
    public string FileName { get; }

    /// <summary>The text.</summary>
    public string Text { get; }
}
