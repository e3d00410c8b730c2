using NUnit.Framework;
using Saturn.Emulator;
using Saturn.Kernels.Cuda;

namespace Saturn.Tests.Cuda;

/// <summary>What a driver refuses to describe for bulk copies, on the emulated driver and on a real one of compute capability 9.0.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.HopperNames))]
public sealed class TensorMapTests(string name)
{
    private ICudaDriver driver = null!;
    private nint address;

    [SetUp]
    public void Open()
    {
        driver = name.StartsWith("emulated", StringComparison.Ordinal) ? new EmulatedDriver(new EmulatorOptions(Architecture: EmulatedArchitecture.Hopper)) : LibCudaDriver.Open();
        driver.SetCurrentContext(driver.RetainPrimaryContext(0));
        address = driver.Allocate(1 << 16);
    }

    [TearDown]
    public void Close()
    {
        driver.Free(address);
        driver.ReleasePrimaryContext(0);
        driver.Dispose();
    }

    [Test]
    public void What_is_right_is_accepted()
    {
        Assert.That(() => Boxes(), Throws.Nothing);
        Assert.That(() => Boxes(rowBytes: 80, inner: 64, channels: 37, step: 8, boxRows: 256), Throws.Nothing);
        Assert.That(() => Boxes(inner: 256, swizzle: TensorMapSwizzle.None), Throws.Nothing);
        Assert.That(() => Pixels(), Throws.Nothing);
        Assert.That(() => Pixels(corner: -128, pixels: 1024), Throws.Nothing);
    }

    [Test]
    public void What_is_wrong_is_refused()
    {
        Refused(() => Boxes(offset: 8));
        Refused(() => Boxes(rowBytes: 136));
        Refused(() => Boxes(rowBytes: 1ul << 40));
        Refused(() => Boxes(inner: 4, swizzle: TensorMapSwizzle.None));
        Refused(() => Boxes(inner: 72));
        Refused(() => Boxes(inner: 64, swizzle: TensorMapSwizzle.Bytes64));
        Refused(() => Boxes(boxRows: 257));
        Refused(() => Boxes(boxRows: 0));
        Refused(() => Boxes(step: 9));
        Refused(() => Boxes(step: 0));
        Refused(() => Boxes(channels: 0));
        Refused(() => Pixels(corner: -129));
        Refused(() => Pixels(pixels: 1025));
        Refused(() => Pixels(inner: 65));
    }

    [Test]
    public void A_device_without_bulk_copies_refuses_every_map()
    {
        using EmulatedDriver older = new();
        older.SetCurrentContext(older.RetainPrimaryContext(0));
        CudaException exception = Assert.Throws<CudaException>(() => older.EncodeTensorMap(new TensorMapSource(TensorMapElement.Float32, 4096, [4], [], [1], TensorMapSwizzle.None), [4]))!;
        Assert.That((exception.Code, exception.Message.Contains("compute capability 8.0")), Is.EqualTo((801, true)));
        older.ReleasePrimaryContext(0);
        driver.SetCurrentContext(driver.RetainPrimaryContext(0));
        driver.ReleasePrimaryContext(0);
    }

    private static void Refused(Action call) => Assert.That(Assert.Throws<CudaException>(call)!.Code, Is.EqualTo(1));

    private TensorMap Boxes(
        int offset = 0, ulong rowBytes = 128, uint inner = 64, ulong channels = 64, uint step = 1, uint boxRows = 8, TensorMapSwizzle swizzle = TensorMapSwizzle.Bytes128) =>
        driver.EncodeTensorMap(new TensorMapSource(TensorMapElement.BFloat16, address + offset, [channels, 32], [rowBytes], [1, step], swizzle), [inner, boxRows]);

    private TensorMap Pixels(int corner = -1, int pixels = 128, int inner = 64) => driver.EncodeTensorMap(
        new TensorMapSource(TensorMapElement.BFloat16, address, [64, 4, 4, 2], [128, 512, 2048], [1, 1, 1, 1], TensorMapSwizzle.Bytes128), new PixelBox(corner, corner, -1, -1, inner, pixels));
}
