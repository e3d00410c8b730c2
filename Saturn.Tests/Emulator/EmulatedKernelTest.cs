using System.Runtime.InteropServices;
using NUnit.Framework;
using Saturn.Emulator;
using Saturn.Emulator.Execution;
using Saturn.Emulator.Memory;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Tests.Cuda;

namespace Saturn.Tests.Emulator;

/// <summary>Ground of the emulator's own tests: compiles a few lines of CUDA, runs them on memory made for the test, and reads the results.</summary>
public abstract unsafe class EmulatedKernelTest
{
    private DeviceAllocations allocations = null!;

    [SetUp]
    public void OpenMemory() => allocations = new DeviceAllocations(isChecked: true, 1L << 30);

    [TearDown]
    public void CloseMemory() => allocations.Dispose();

    /// <summary>PTX of CUDA C++ text; common.cuh may be included.</summary>
    private protected static LoadedModule Compile(string text, string target = "compute_80")
    {
        Nvrtc.Require();
        using KernelCompiler compiler = KernelCompiler.Create();
        CompiledModule compiled = compiler.Compile(new KernelSource("test.cu", text, null), new KernelTarget(target));
        return LoadedModule.Load(compiled.Image, compiled.SourceName);
    }

    /// <summary>Memory that holds the values.</summary>
    protected nint Upload<T>(params ReadOnlySpan<T> values)
        where T : unmanaged
    {
        DeviceAllocation allocation = allocations.Add(values.Length * sizeof(T), "test");
        values.CopyTo(new Span<T>((void*)allocation.Base, values.Length));
        new Span<byte>(allocation.Written, (int)allocation.Length).Fill(1);
        return allocation.Base;
    }

    /// <summary>Memory that was never written.</summary>
    protected nint Fresh(long bytes) => allocations.Add(bytes, "test").Base;

    protected void Free(nint address) => allocations.Free(address);

    protected static T[] Read<T>(nint address, int count)
        where T : unmanaged => new ReadOnlySpan<T>((void*)address, count).ToArray();

    /// <summary>Runs a kernel whose arguments are 64-bit values (addresses, counts).</summary>
    private protected void Run(LoadedModule module, string kernel, LaunchGeometry geometry, params ReadOnlySpan<long> arguments) =>
        KernelExecution.Run(module.GetKernel(kernel), geometry, MemoryMarshal.AsBytes(arguments), allocations, new EmulatorOptions(Checked: true, Workers: 2));

    /// <summary>Runs a kernel that must fail, and returns the message.</summary>
    private protected string Failure(LoadedModule module, string kernel, LaunchGeometry geometry, params ReadOnlySpan<long> arguments)
    {
        try
        {
            Run(module, kernel, geometry, arguments);
        }
        catch (EmulatorException exception)
        {
            return exception.Message;
        }

        Assert.Fail("the fault was not found");
        return "";
    }
}
