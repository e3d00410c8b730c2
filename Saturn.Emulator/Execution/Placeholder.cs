#pragma warning disable
using Saturn.Emulator.Memory;
using Saturn.Kernels.Cuda;

namespace Saturn.Emulator
{
    /// <summary>Placeholder.</summary>
    public sealed class EmulatorException(string message, int code = 719) : CudaException(message, code);
}

namespace Saturn.Emulator.Execution
{
    internal sealed class EmulatedKernel
    {
        public string Name => "";
        public int ArgumentBytes => 0;
        public int StaticSharedBytes => 0;
        public int LocalBytes => 0;
        public int RegisterCount => 0;
        public int MaximumThreads => 1024;
    }

    internal sealed class LoadedModule : IDisposable
    {
        public static LoadedModule Load(ReadOnlySpan<byte> ptx, string name) => throw new NotImplementedException();

        public EmulatedKernel GetKernel(string name) => throw new NotImplementedException();

        public void Dispose()
        {
        }
    }

    internal static class KernelExecution
    {
        public static void Run(EmulatedKernel kernel, in LaunchGeometry geometry, ReadOnlySpan<byte> arguments, DeviceAllocations allocations, EmulatorOptions options) =>
            throw new NotImplementedException();
    }
}
