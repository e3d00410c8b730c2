using NUnit.Framework;
using Saturn.Emulator;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Families;

namespace Saturn.Tests.Cuda;

/// <summary>A prepared device compiles nothing more, whatever is asked of it later: pruning never waits for a compiler.</summary>
public sealed class PreparedDeviceTests
{
    [Test]
    public void Nothing_is_compiled_after_preparation([Values] Precision precision)
    {
        Nvrtc.Require();
        using CudaDevice device = new("idle", new IdleDriver(), precision: precision);
        device.Prepare();
        int compiled = device.Context.Compilations;
        Assert.That(compiled, Is.GreaterThanOrEqualTo(15));
        device.Prepare();
        Shape shape = new(4, 40);
        DeviceBuffer values = device.Memory.Allocate(4 * shape.StorageCount);
        device.Elementwise.Fill(shape, values, 1);
        device.Random.Uniform(shape, new RandomKey(1, 0, 0), -1, 1, values);
        device.Memory.Free(values);
        Assert.That(device.Context.Compilations, Is.EqualTo(compiled));
    }
}
