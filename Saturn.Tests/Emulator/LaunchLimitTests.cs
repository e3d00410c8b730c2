using NUnit.Framework;
using Saturn.Kernels.Cuda;

namespace Saturn.Tests.Emulator;

/// <summary>Launches, contexts and handles that hardware refuses, the emulated driver refuses, with the driver's codes.</summary>
public sealed unsafe class LaunchLimitTests : EmulatedDriverTest
{
    private nint module;
    private nint scale;

    [SetUp]
    public void LoadKernel()
    {
        module = Driver.LoadModule(ScaleImage, "scale.ptx");
        scale = Driver.GetFunction(module, "scale");
    }

    [TearDown]
    public void UnloadKernel() => Driver.UnloadModule(module);

    private static IEnumerable<TestCaseData> Refused =>
    [
        new(new LaunchGeometry(0, 1, 1, 32), 1, "grid"),
        new(new LaunchGeometry(1, 65_536, 1, 32), 1, "grid"),
        new(new LaunchGeometry(1, 1, 65_536, 32), 1, "grid"),
        new(new LaunchGeometry(0x8000_0000, 1, 1, 32), 1, "grid"),
        new(new LaunchGeometry(1, 1, 1, 0), 1, "block"),
        new(new LaunchGeometry(1, 1, 1, 1_025), 1, "block"),
        new(new LaunchGeometry(1, 1, 1, 64, 32), 1, "block"),
        new(new LaunchGeometry(1, 1, 1, 2, 2, 65), 1, "block"),
        new(new LaunchGeometry(1, 1, 1, 512), 701, "256 threads"),
        new(new LaunchGeometry(1, 1, 1, 32, 1, 1, 48 * 1024 + 1), 1, "MaximumDynamicSharedSizeBytes"),
    ];

    [TestCaseSource(nameof(Refused))]
    public void A_launch_beyond_a_limit_is_refused(LaunchGeometry geometry, int code, string why)
    {
        ScaleArguments arguments = default;
        ScaleArguments* pointer = &arguments;
        Assert.That(Fails(code, () => Driver.Launch(scale, geometry, pointer, 16, Stream)), Does.Contain("scale").And.Contain(why));
        Assert.That(Driver.IsLost, Is.False);
    }

    [Test]
    public void Arguments_must_have_the_kernels_size()
    {
        ScaleArguments arguments = default;
        ScaleArguments* pointer = &arguments;
        Assert.That(Fails(1, () => Driver.Launch(scale, new LaunchGeometry(1, 1, 1, 32), pointer, 12, Stream)), Does.Contain("takes 16 bytes").And.Contain("12 were given"));
    }

    [Test]
    public void More_shared_memory_must_be_asked_for_and_has_an_end()
    {
        Driver.SetFunctionAttribute(scale, CudaFunctionAttribute.MaximumDynamicSharedSizeBytes, 100 * 1024);
        ScaleArguments arguments = default;
        Driver.Launch(scale, new LaunchGeometry(1, 1, 1, 32, 1, 1, 100 * 1024), &arguments, 16, Stream);
        Driver.SynchronizeStream(Stream);
        Assert.That(Driver.FunctionAttribute(scale, CudaFunctionAttribute.MaximumDynamicSharedSizeBytes), Is.EqualTo(100 * 1024));
        Fails(1, () => Driver.SetFunctionAttribute(scale, CudaFunctionAttribute.MaximumDynamicSharedSizeBytes, 163 * 1024 + 1));
    }

    [Test]
    public void Clusters_are_not_supported()
    {
        ScaleArguments arguments = default;
        ScaleArguments* pointer = &arguments;
        Fails(801, () => Driver.LaunchWithAttributes(scale, new LaunchGeometry(2, 1, 1, 32), [new CudaLaunchAttribute(4, 2, 1, 1)], pointer, 16, Stream));
    }

    [Test]
    public void Unknown_kernels_handles_and_devices_are_refused()
    {
        Assert.That(Fails(500, () => Driver.GetFunction(module, "stale")), Does.Contain("scale"));
        Fails(400, () => Driver.SynchronizeStream(scale));
        Fails(400, () => Driver.GetFunction(Stream, "scale"));
        Fails(101, () => Driver.RetainPrimaryContext(1));
    }

    [Test]
    public void A_thread_without_the_context_is_refused()
    {
        string? message = null;
        Thread thread = new(() => message = Fails(201, () => Driver.SynchronizeStream(Stream)));
        thread.Start();
        thread.Join();
        Assert.That(message, Does.Contain("not current"));
    }
}
