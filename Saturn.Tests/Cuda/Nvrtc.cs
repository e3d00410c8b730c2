using NUnit.Framework;
using Saturn.Kernels.Cuda.Compilation;

namespace Saturn.Tests.Cuda;

/// <summary>
/// Tests that compile kernels begin with <see cref="Require"/>: where NVRTC is missing they are skipped with the reason, or fail if <c>SATURN_REQUIRE_NVRTC=1</c>, as in <c>.ci/run</c>.
/// </summary>
public static class Nvrtc
{
    private static readonly Lazy<string?> Missing = new(() =>
    {
        try
        {
            KernelCompiler.Create().Dispose();
            return null;
        }
        catch (NvrtcNotFoundException exception)
        {
            return exception.Message;
        }
    });

    /// <summary>Whether kernels can be compiled here, or must be.</summary>
    public static bool IsAvailable => Missing.Value is null || IsRequired;

    private static bool IsRequired => Environment.GetEnvironmentVariable("SATURN_REQUIRE_NVRTC") is not (null or "" or "0");

    /// <summary>Returns where kernels can be compiled; otherwise the test ends as skipped, or as failed where NVRTC is required.</summary>
    public static void Require()
    {
        if (Missing.Value is not { } reason)
        {
            return;
        }

        if (IsRequired)
        {
            Assert.Fail(reason);
        }

        Assert.Ignore(reason);
    }
}
